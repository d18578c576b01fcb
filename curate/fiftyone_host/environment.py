"""The environment of a process that imports FiftyOne.

The user's settings, plugins and databases stay out of it.
"""

import os
from importlib.metadata import version
from pathlib import Path

from curate.errors import ServiceError
from curate.fiftyone_host.processes import HOST
from curate.files import write_atomically
from curate.parts import require_part

SERIES = "1.22."  # plugins and variables below depend on it: other series differ in both


def require_fiftyone() -> None:
    """Raise PartError unless FiftyOne is installed, ServiceError unless it is of `SERIES`."""
    require_part("fiftyone")
    found = version("fiftyone")
    if not found.startswith(SERIES):
        raise ServiceError(
            f"FiftyOne 1.22 is needed, {found} is installed: `pip install 'fiftyone>=1.22,<1.23'`"
        )


def fiftyone_environment(
    folder: Path, uri: str, database: str, *, plugins: Path | None = None
) -> dict[str, str]:
    """Variables that FiftyOne reads while it is imported.

    Parameters
    ----------
    folder : for two empty settings files
    uri, database : the MongoDB server and the database in it
    plugins : the folder of the only plugins to load; None for no plugins
    """
    settings = {name: folder / f"{name}.json" for name in ("config", "app_config")}
    for file in settings.values():
        write_atomically(file, b"{}\n")
    if plugins is None:
        plugins = folder / "plugins"
        plugins.mkdir(exist_ok=True)
    package = str(Path(__file__).parents[2])
    paths = [package, os.environ.get("PYTHONPATH")]
    others = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")}
    return {
        **others,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "FIFTYONE_DATABASE_URI": uri,
        "FIFTYONE_DATABASE_NAME": database,
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_CONFIG_PATH": str(settings["config"]),
        "FIFTYONE_APP_CONFIG_PATH": str(settings["app_config"]),
        "FIFTYONE_PLUGINS_DIR": str(plugins),
        "FIFTYONE_DEFAULT_APP_ADDRESS": HOST,
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SERVER": "1",
    }
