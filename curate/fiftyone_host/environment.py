"""The environment of every process that imports FiftyOne: the user's settings, plugins and databases stay out of it."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from curate.errors import ServiceError
from curate.fiftyone_host.processes import HOST
from curate.files import write_atomically

PLUGINS = Path(__file__).parents[1] / "relabel" / "plugins"
PLUGIN = "@candid/review"
SERIES = "1.22."  # the panel stands on this App's globals


def require_fiftyone() -> None:
    """Raise ServiceError unless the FiftyOne that our panel is written for is installed."""
    try:
        found = version("fiftyone")
    except PackageNotFoundError:
        found = "none"
    if not found.startswith(SERIES):
        raise ServiceError(
            f"FiftyOne 1.22 is needed, {found} is installed: `pip install 'fiftyone>=1.22,<1.23'`"
        )


def fiftyone_environment(folder: Path, uri: str, database: str) -> dict[str, str]:
    """Variables that FiftyOne reads while it is imported.

    Parameters
    ----------
    folder : for two empty settings files
    uri, database : the MongoDB server and the database in it
    """
    settings = {name: folder / f"{name}.json" for name in ("config", "app_config")}
    for file in settings.values():
        write_atomically(file, b"{}\n")
    package = str(Path(__file__).parents[2])
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")
    }
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        "FIFTYONE_DATABASE_URI": uri,
        "FIFTYONE_DATABASE_NAME": database,
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_CONFIG_PATH": str(settings["config"]),
        "FIFTYONE_APP_CONFIG_PATH": str(settings["app_config"]),
        "FIFTYONE_PLUGINS_DIR": str(PLUGINS),
        "FIFTYONE_DEFAULT_APP_ADDRESS": HOST,
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SERVER": "1",
    }
