"""The import law: a room imports only rooms below it. `docs/architecture.md` draws it, this file reads the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import curate

ROOT = Path(curate.__file__).parent.parent
# The law. A line may import the lines below it; the rooms of one line do not know each other.
LAW = {
    "curate": """
        cli
        demo export relabel reports
        review stages
        duplicates fiftyone_host label_issues sources
        images workspace
        ground
    """,
    "train": """
        cli
        explain export faces oof
        training
        evaluation
        data runs
        models
        recipes
        backend
    """,
}
# What `train` may import of `curate`; `curate` imports nothing of `train`.
SHARED = {"ground", "workspace", "images"}
# The only places that may import a heavy package.
HOMES = {
    "fiftyone": ("curate/relabel/", "curate/fiftyone_host/", "curate/export/"),
    "pymongo": ("curate/relabel/", "curate/fiftyone_host/"),
    "ray": ("curate/engine.py", "curate/duplicates/"),
    "faiss": ("curate/duplicates/", "curate/sources/"),
    "imagehash": ("curate/images/",),
    "PIL": ("curate/images/", "curate/duplicates/", "curate/demo/", "train/"),
    "cv2": ("curate/images/", "curate/duplicates/", "curate/demo/", "train/"),
    "tensorflow": ("train/",),
    "keras": ("train/",),
}
MOST_MODULES = 16


def room_of(module: str) -> str:
    """The room of a dotted module: the folder below the package; `ground` for modules beside the rooms."""
    package, *rest = module.split(".")
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


def test_a_heavy_package_is_imported_only_in_its_home() -> None:
    wrong = []
    for file in sorted(path for package in LAW for path in (ROOT / package).rglob("*.py")):
        place = file.relative_to(ROOT).as_posix()
        for module in imports_of(file):
            homes = HOMES.get(module.split(".")[0])
            if homes and not place.startswith(homes):
                wrong.append(f"{place} imports {module}")
    assert wrong == []
