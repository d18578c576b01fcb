"""The import law: a room imports only rooms below it.

`docs/architecture.md` draws the law; the tests here compare it with the imports and with that page.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import curate

ROOT = Path(curate.__file__).parent.parent
# The law. A line may import the lines below it; the rooms of one line do not know each other.
LAW = {
    "curate": """
        cli
        demo export interface publish relabel reports
        review stages
        duplicates fiftyone_host label_issues sources
        images pages workspace
        ground
    """,
    "train": """
        cli
        report
        explain export faces interface oof
        training
        evaluation
        data runs
        models
        recipes
        backend
    """,
}
# What `train` may import of `curate`; `curate` imports nothing of `train`.
SHARED = {"ground", "workspace", "images", "pages"}
# The only places that may import a heavy package.
HOMES = {
    "fiftyone": ("curate/relabel/", "curate/export/"),
    "pymongo": ("curate/relabel/",),
    "ray": ("curate/engine.py", "curate/duplicates/"),
    "faiss": ("curate/duplicates/", "curate/sources/"),
    "imagehash": ("curate/images/",),
    "jinja2": ("curate/pages/",),
    "PIL": ("curate/images/", "curate/demo/"),
    "cv2": ("curate/images/", "curate/duplicates/", "curate/demo/", "train/"),
    "tensorflow": ("train/",),
    "keras": ("train/",),
}
MOST_MODULES = 16


def room_of(module: str) -> str:
    """The room of a dotted module: its folder in the package; `ground` for one in no folder.

    The package itself, its `__init__.py`, is `interface`: it holds what `import curate` offers.
    """
    package, *rest = module.split(".")
    if package in LAW and rest in ([], ["__init__"]):
        return "interface"
    if package == "train" and rest[:1] == ["backend"]:
        return "backend"
    is_room = rest and (ROOT / package / rest[0]).is_dir()
    return rest[0] if is_room else "ground"


def imports_of(file: Path) -> Iterator[str]:
    """Every module that a file imports, at the top or inside a function, as a dotted name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            is_package = node.module in ("curate", "train")
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if is_package else [node.module]


def find_breaches(root: Path) -> list[str]:
    """Every import below `root` that the law forbids, as `file imports module`."""
    level = {}
    for package, law in LAW.items():
        for height, line in enumerate(reversed(law.strip().splitlines())):
            level |= {(package, room): height for room in line.split()}
    breaches = []
    for package in LAW:
        for file in sorted((root / package).rglob("*.py")):
            place = file.relative_to(root)
            room = room_of(".".join(place.with_suffix("").parts))
            if place.name == "__main__.py":
                continue
            for module in imports_of(file):
                other, target = module.split(".")[0], room_of(module)
                if other not in LAW or (other, target) == (package, room):
                    continue
                is_below = other == package and level[other, target] < level[package, room]
                is_shared = (package, other) == ("train", "curate") and target in SHARED
                if not is_below and not is_shared:
                    breaches.append(f"{place.as_posix()} imports {module}")
    return breaches


def test_a_room_imports_only_rooms_below_it() -> None:
    assert find_breaches(ROOT) == []


def test_the_law_finds_a_planted_import_that_runs_up_sideways_or_between_the_programs(
    tmp_path: Path,
) -> None:
    planted = {
        "curate/images/up.py": "from curate.stages.dedup import dedup\n",
        "curate/stages/aside.py": "def late():\n    from curate.review import decide\n",
        "curate/workspace/over.py": "import train.backend\n",
        "curate/stages/front.py": "import curate\n",
        "train/models/up.py": "from train.training.fit import fit_model\n",
        "train/data/over.py": "from curate.stages.split import split\n",
        "train/data/fine.py": "from curate.workspace.manifest import kept_rows\n",
    }
    for name, code in planted.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    found = {breach.split()[0] for breach in find_breaches(tmp_path)}
    assert found == set(planted) - {"train/data/fine.py"}


def test_every_room_is_in_the_law_and_says_what_lives_there() -> None:
    for package, law in LAW.items():
        rooms = {
            folder.name
            for folder in (ROOT / package).iterdir()
            if (folder / "__init__.py").is_file()
        }
        assert rooms == set(law.split()) - {"ground", "backend"}
        for room in rooms:
            text = ast.get_docstring(ast.parse((ROOT / package / room / "__init__.py").read_text()))
            assert text, room


def test_no_folder_holds_more_than_sixteen_modules() -> None:
    for package in LAW:
        folders = {file.parent for file in (ROOT / package).rglob("*.py")}
        for folder in folders - {ROOT / "curate" / "sources"}:  # one file a layout
            modules = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
            assert len(modules) <= MOST_MODULES, folder


def heavy_imports() -> Iterator[tuple[str, str]]:
    """Each import of a heavy package: the file below the root, and the package."""
    for file in sorted(path for package in LAW for path in (ROOT / package).rglob("*.py")):
        for module in imports_of(file):
            package = module.split(".")[0]
            if package in HOMES:
                yield file.relative_to(ROOT).as_posix(), package


def test_a_heavy_package_is_imported_only_in_its_home() -> None:
    imports = set(heavy_imports())
    assert [each for each in imports if not each[0].startswith(HOMES[each[1]])] == []


def test_every_home_of_a_heavy_package_imports_it() -> None:
    for package, homes in HOMES.items():
        places = [place for place, imported in heavy_imports() if imported == package]
        for home in homes:
            assert any(place.startswith(home) for place in places), (home, package)


def test_the_architecture_page_draws_this_law() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawn = dict(re.findall(r"^```law (\w+)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL))
    assert drawn.keys() == LAW.keys()
    for package, law in LAW.items():
        rows = [line.split() for line in law.strip().splitlines()]
        assert [line.split() for line in drawn[package].splitlines()] == rows
    shared = re.search(r"`train` imports of `curate` only ([^.]*)\.", page)
    assert shared
    assert set(re.findall(r"`(\w+)`", shared[1])) == SHARED


def test_the_architecture_page_has_every_room_and_the_homes_of_every_heavy_package() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    sections = dict(re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", page, flags=re.MULTILINE))
    rows = re.findall(r"^\| ([\w, ]+) \| (`.*`) \|$", sections["The law"], flags=re.MULTILINE)
    homes = {}
    for packages, places in rows:
        homes |= dict.fromkeys(packages.split(", "), tuple(re.findall(r"`([^`]+)`", places)))
    assert homes == HOMES
    rooms = re.findall(r"^\| `(\w+)` \|", sections["The rooms"], flags=re.MULTILINE)
    assert rooms == [room for law in LAW.values() for room in law.split()]


def test_every_file_and_name_in_the_table_of_the_contributors_page_exists() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("| a")]
    named = re.findall(r"`((?:curate|train|docs|manifests)/[^`]+)`", "\n".join(table))
    assert len(named) > 30
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []
    places = re.findall(r"((?:`\w+`(?:, | and )?)+) in `([^`]+\.(?:py|js))`", "\n".join(table))
    assert len(places) > 15
    for names, file in places:
        text = (ROOT / file).read_text()
        for name in re.findall(r"\w+", names.replace(" and ", " ")):
            assert re.search(rf"^ *(def |class |const )?{name}\b", text, re.M), (name, file)
