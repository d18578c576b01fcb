"""Jobs of a benchmark of many hours: a few commands each, resumable, kept from session to session.

A job is done if its line is in FOLDER/results.jsonl and what it made is still there; it is not run
again. One that was stopped begins anew, its training where it was. An archive in benchmarks/runs/
keeps the lines of the finished jobs and what they predicted, and a new FOLDER begins with it. The
scripts that plan jobs have the options of `add_options`.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from train.runs.folder import METRICS, RECIPE, is_unfinished

RUNS = Path(__file__).resolve().parent / "runs"


@dataclass(frozen=True)
class Job:
    """What is done in one go.

    Attributes
    ----------
    name : split, row and seed, as `leakfree/b/s0`; unique
    minutes : as estimated
    commands : run one after the other by a shell, in FOLDER
    run : folder of the run that it trains, inside FOLDER; empty for none
    result : JSON file inside FOLDER that joins the line of the job; empty for none
    makes : what must still be inside FOLDER for the job to be done; empty for nothing
    """

    name: str
    minutes: float
    commands: tuple[str, ...]
    run: str = ""
    result: str = ""
    makes: str = ""


class JobError(Exception):
    """A command of a job failed."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every script of jobs has."""
    parser.add_argument("--list", action="store_true", help="print the jobs and run none")
    parser.add_argument("--write", action="store_true", help="write the tables and run none")
    parser.add_argument("--save", action="store_true", help="keep what is finished; run none")
    parser.add_argument("--hours", type=float, default=1e9, help="begin no job after so many")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="trainings on one GPU")
    parser.add_argument("--only", default="", metavar="PATTERN", help="jobs whose names match")


def do_chosen(
    options: argparse.Namespace,
    jobs: Sequence[Job],
    kept: Path,
    write: Callable[[Path], None],
) -> None:
    """List, save, write or run the jobs of `options.folder`, by the options."""
    chosen = [job for job in jobs if re.search(options.only, job.name)]
    if options.list:
        print(format_plan(chosen, list_done(options.folder, jobs)))
    elif options.save:
        save(options.folder, kept)
    elif options.write:
        write(options.folder)
    else:
        run_jobs(options.folder, chosen, options.hours, options.at_once)


def quote(file: Path) -> str:
    return shlex.quote(str(file))


def read_done(folder: Path) -> dict[str, dict[str, Any]]:
    """Job -> its line, of the finished jobs; a line that a kill cut off does not count."""
    file = folder / "results.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    whole = (line for line in lines if line.endswith("}"))
    return {line["job"]: line for line in map(json.loads, whole)}


def list_done(folder: Path, jobs: Sequence[Job]) -> set[str]:
    """The names of the jobs that need not be run."""
    finished = read_done(folder)
    return {
        job.name for job in jobs if job.name in finished and (folder / (job.makes or ".")).exists()
    }


def save(folder: Path, kept: Path) -> None:
    """Keep the lines of the finished jobs and the classes that they predicted."""
    with tarfile.open(kept, "w:xz") as archive:
        for file in [folder / "results.jsonl", *sorted((folder / "scores").glob("*.csv"))]:
            archive.add(file, file.relative_to(folder).as_posix(), filter=name_nobody)
    print(f"{kept}: {len(read_done(folder))} jobs, {kept.stat().st_size / 1000:.0f} KB")


def name_nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the user and the time of the machine that measured."""
    return entry.replace(uid=0, gid=0, uname="", gname="", mtime=0, deep=False)


def read_machine(run: Path) -> str:
    """The GPU, else the processor, that trained it."""
    machine = json.loads((run / RECIPE).read_text())["machine"]
    return ", ".join(machine["gpus"]) or f"{machine['processor']}, {machine['cores']} cores"


def restore(folder: Path, kept: Path) -> None:
    """Begin a new folder with the kept results."""
    if kept.is_file() and not (folder / "results.jsonl").is_file():
        with tarfile.open(kept) as archive:
            archive.extractall(folder, filter="data")
        print(f"{len(read_done(folder))} finished jobs were taken from {kept.name}")


def format_plan(jobs: Sequence[Job], done: Collection[str]) -> str:
    """Each job with its minutes and commands, and the sum of what is left."""
    lines = []
    for job in jobs:
        state = "done" if job.name in done else f"{job.minutes:g} min"
        lines += [f"{job.name}: {state}", *(f"    {command}" for command in job.commands)]
    left = sum(job.minutes for job in jobs if job.name not in done)
    lines.append(f"{len(jobs)} jobs, {len(jobs) - sum(job.name in done for job in jobs)} left: ")
    return "\n".join(lines) + f"about {left / 60:.1f} hours of two cores"


def run_jobs(folder: Path, jobs: Sequence[Job], hours: float, at_once: int = 1) -> None:
    """Run the jobs that are not done, in their order, until the hours are over.

    Parameters
    ----------
    at_once : how many trainings run side by side; the other jobs build on each other, one by one
    """
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 3600 * hours
    failed: list[str] = []
    for is_training, group in groupby(jobs, key=lambda job: bool(job.run)):
        with ThreadPoolExecutor(at_once if is_training else 1) as pool:
            failed += filter(None, pool.map(lambda job: try_job(folder, job, end), list(group)))
    if failed:
        raise SystemExit(f"{len(failed)} jobs failed: {', '.join(failed)}")


def try_job(folder: Path, job: Job, end: float) -> str:
    """Run one job unless it is done or the time is over, and note its line.

    Returns
    -------
    its name if it failed, which does not stop the others; else empty
    """
    if list_done(folder, [job]):
        return ""
    if time.monotonic() > end:
        print(f"{job.name}: not begun, the time is over", flush=True)
        return ""
    print(f"{job.name} ({job.minutes:g} min)", flush=True)
    begin = time.monotonic()
    try:
        run_job(folder, job)
    except JobError as error:
        print(error, flush=True)
        return job.name
    line: dict[str, Any] = {"job": job.name, "seconds": round(time.monotonic() - begin, 1)}
    if job.run:
        line |= {"machine": read_machine(folder / job.run)}
    if job.result:
        line |= {"result": json.loads((folder / job.result).read_text())}
    with (folder / "results.jsonl").open("a") as file:
        file.write(f"\n{json.dumps(line)}\n")  # a kill may have cut off the line before
    return ""


def run_job(folder: Path, job: Job) -> None:
    """The commands of a job; a training that was interrupted goes on, a finished one is kept."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for command in job.commands:
        words = command
        if job.run and command.startswith("train run "):
            if (folder / job.run / METRICS).is_file():
                continue
            if is_unfinished(folder / job.run):
                words = f"train run --resume --name {Path(job.run).name} -w {command.split()[-1]}"
        log = folder / "logs" / f"{job.name.replace('/', '-')}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("a") as stream:
            stream.write(f"$ {words}\n")
            stream.flush()
            done = subprocess.run(
                words, shell=True, cwd=folder, stdout=stream, stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": programs},
            )  # fmt: skip
        if done.returncode:
            tail = "\n".join(log.read_text().splitlines()[-5:])
            raise JobError(f"{job.name}: `{words}` failed ({log}):\n{tail}")
