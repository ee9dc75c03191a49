"""Measurements in processes of their own, and the memory that a process takes."""

import contextlib
import json
import pathlib
import subprocess
import sys


def start(*arguments):
    """Starts Python with the given arguments and does not wait; for `output`."""
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output(process):
    """Waits for a process and returns what it printed.

    Raises:
        OSError: if it failed, with the last thing it said.
    """
    printed, complaints = process.communicate()
    if process.returncode:
        reason = complaints.strip().rpartition("\n")[2] or "without a word"
        raise OSError(f"A process of the benchmark ended with status {process.returncode}: {reason}")
    return printed


def start_measuring(statement, *arguments):
    """Starts a process that calls one function; for `measured`.

    Args:
        statement: imports the function under the name `measure`.
        *arguments: of the function, numbers and strings; it returns what JSON can carry.
    """
    return start("-c", f"import json\n{statement}\nprint(json.dumps(measure(*{arguments!r})))")


def measured(process):
    """Waits for a process of `start_measuring` and returns what its function did."""
    return json.loads(output(process))


def peak_megabytes():
    """The most memory that this process has taken so far."""
    megabytes = _status_megabytes("VmHWM")
    if megabytes is None:
        import resource  # not on Windows

        # Bytes on macOS. Linux has the file above, which forgets the memory of the process that started this one.
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return megabytes


def resident_megabytes():
    """The memory that this process takes now; where the system does not say, the most it has taken."""
    megabytes = _status_megabytes("VmRSS")
    return peak_megabytes() if megabytes is None else megabytes


def forget_peak():
    """Lets the peak begin anew at the memory in use now, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def _status_megabytes(field):
    status = pathlib.Path("/proc/self/status")
    return int(status.read_text().split(f"{field}:")[1].split()[0]) / 1024 if status.exists() else None
