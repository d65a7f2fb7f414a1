"""The review store under fire: killed servers, two readers at once, a locked database, restart.

``python -m benchmarks.reviews [--kills 100] [--rounds 100]``

Kills: a process with the store open as the server opens it, four readers in four threads (as Streamlit runs its sessions), each
adding a case, committing a first read, keeping a second and signing, without a pause. What the store has returned is
acknowledged to this process over a pipe. SIGKILL comes at a random moment. Afterwards every acknowledged version must be
there, word for word, nothing by halves, the audit trail must hold, and SQLite must find its file whole. The restart is the real
server's: from its start, after a SIGKILL, to the page.

Exit status 1 when a target is missed.
"""

import argparse
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

from benchmarks.interleaved import machine, table
from core.errors import StoreBusy
from core.reviews.database import Database
from core.reviews.record import Finding, Read, Reader
from core.reviews.store import NewCase, Store
from tests.browser import serving

WRITERS = 4
RESTART_TARGET_SECONDS = 15.0
LOCK_SECONDS = 30.0
_RESTARTS = 3
_SEED = 1
_SERVER = """
import sys, threading, uuid
from datetime import UTC, datetime
from core.reviews.opening import open_reviews
from core.reviews.record import Finding, Read, Reader, SecondRead
from core.reviews.store import NewCase

store = open_reviews(sys.argv[1]).store
line = threading.Lock()

def acknowledge(review):
    with line:
        print(review.case_id, review.reader.name, review.version, review.sha256, flush=True)

def write(name):
    reader, now = Reader(name=name), datetime.now(UTC)
    read = Read(findings={"mass": Finding(mark="present", confidence=4)}, comment="x" * 2000)
    while True:
        digest = uuid.uuid4().hex * 2
        case = store.add_case(NewCase(digest=digest, origin="upload"), reader)
        acknowledge(store.commit_first_read(case.id, reader, read, now))
        second = SecondRead(decisions={"mass": "agree"}, read=read)
        acknowledge(store.keep_second_read(case.id, reader, second, None, opened_at=now, withheld="no model"))
        acknowledge(store.sign(case.id, reader))

for number in range(int(sys.argv[2])):
    threading.Thread(target=write, args=(f"reader {number}",), daemon=True).start()
threading.Event().wait()
"""
Acknowledged = tuple[str, str, int, str]


def kills(folder: Path, count: int) -> tuple[int, int, int]:
    """Kill a server with four writers so often: acknowledged versions, of these lost, and what is wrong beside."""
    url, draw = f"sqlite:///{folder / 'kills.db'}", random.Random(_SEED)  # noqa: S311 - moments, no secrets
    acknowledged: set[Acknowledged] = set()
    for number in range(count):
        acknowledged |= _killed(url, draw.uniform(0.05, 0.6))
        if (number + 1) % 10 == 0:
            print(f"  {number + 1} kills, {len(acknowledged)} acknowledged versions", flush=True)
    database = Database(url)
    store = Store(database)
    kept = {(review.case_id, review.reader.name, review.version, review.sha256) for review in store.reviews()}
    wrong = len(store.verify().broken)
    database.close()
    with closing(sqlite3.connect(folder / "kills.db")) as connection:
        wrong += connection.execute("PRAGMA integrity_check").fetchone() != ("ok",)
    return len(acknowledged), len(acknowledged - kept), wrong


def _killed(url: str, after: float) -> set[Acknowledged]:
    """One server, killed so many seconds after its first acknowledgement; what it had acknowledged."""
    command = [sys.executable, "-W", "ignore", "-c", _SERVER, url, str(WRITERS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        said = cast("IO[str]", server.stdout)
        lines = [said.readline()]
        killer = threading.Timer(after, server.send_signal, (signal.SIGKILL,))
        killer.start()
        lines += said.readlines()
        killer.join()
    # A line without its end was cut off by the kill: nobody has read it.
    return {_parsed(line) for line in lines if line.endswith("\n")}


def _parsed(line: str) -> Acknowledged:
    case, rest = line.split(" ", 1)
    name, version, sha256 = rest.rsplit(" ", 2)
    return case, name, int(version), sha256.strip()


def two_readers(folder: Path, rounds: int) -> int:
    """Two readers commit a read of the same case at the same moment, so many times: the number of reviews there are.

    0 where one case became two.
    """
    database = Database(f"sqlite:///{folder / 'two.db'}")
    store, readers = Store(database), (Reader(name="Anna"), Reader(name="Bo"))
    for number in range(rounds):
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        gate = threading.Barrier(2)

        def review(reader: Reader, digest: str = digest, gate: threading.Barrier = gate) -> None:
            gate.wait()
            case = store.add_case(NewCase(digest=digest, origin="upload"), reader)
            store.commit_first_read(case.id, reader, _read(), datetime.now(UTC))

        threads = [threading.Thread(target=review, args=(reader,)) for reader in readers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = len(store.reviews()) if len(store.cases()) == rounds else 0
    database.close()
    return found


def locked(folder: Path) -> tuple[int, bool]:
    """Another writer holds the database for 30 s: how often the reader was told, and whether their text was saved after it."""
    path = folder / "locked.db"
    database = Database(f"sqlite:///{path}")
    store, reader = Store(database), Reader(name="Anna")
    case = store.add_case(NewCase(digest="0" * 64, origin="upload"), reader)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        until, told = time.monotonic() + LOCK_SECONDS, 0
        while time.monotonic() < until:
            try:
                store.save_draft(case.id, reader, "what I typed")
            except StoreBusy:
                told += 1
        other.execute("ROLLBACK")
    store.save_draft(case.id, reader, "what I typed")
    saved = store.draft(case.id, reader) == "what I typed"
    database.close()
    return told, saved


def restarts() -> list[float]:
    """Seconds from the start of the real server, whose predecessor was killed, to its page, each time."""
    seconds = []
    for _ in range(_RESTARTS):
        started = time.monotonic()
        with serving() as (address, pid):
            with urllib.request.urlopen(address, timeout=60) as page:  # noqa: S310 - our own address
                page.read()
            seconds.append(time.monotonic() - started)
            signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)
    return seconds


def _read() -> Read:
    return Read(findings={"mass": Finding(mark="absent", confidence=2)})


def main() -> int:
    """Print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="radlens-reviews-") as name:
        folder = Path(name)
        acknowledged, lost, wrong = kills(folder, options.kills)
        found = two_readers(folder, options.rounds)
        told, saved = locked(folder)
    slowest = max(restarts())
    rows = [
        (f"kill -9 under {WRITERS} writers, {options.kills} times: acknowledged versions", str(acknowledged), ""),
        ("acknowledged and lost", str(lost), "0"),
        ("half reviews, broken audit events, damaged file", str(wrong), "0"),
        (f"two readers, same case, {options.rounds} rounds: reviews", str(found), str(2 * options.rounds)),
        (f"database locked for {LOCK_SECONDS:.0f} s: told {told} times; saved afterwards", str(saved), "True"),
        ("restart after a kill to the page, slowest, s", f"{slowest:.1f}", f"<= {RESTART_TARGET_SECONDS:g}"),
    ]
    print("\n" + table(("what", "found", "target"), rows), flush=True)
    met = not lost and not wrong and found == 2 * options.rounds and saved and slowest <= RESTART_TARGET_SECONDS
    return 0 if met and acknowledged else 1


if __name__ == "__main__":
    sys.exit(main())
