"""Open a web page to make music with, for musicians: chords, a melody, drums, takes side by side, fixing and continuing them.

  jasco serve                                    then open http://127.0.0.1:8765 in a browser
  jasco serve --port 9000 --checkpoint checkpoints/mine
  jasco serve --host 0.0.0.0 --auth ada:secret   for others on the network too

Everything stays on this machine and works without a network. The page and an HTTP API do the same; docs/serve.md has both. What is made and
uploaded lies in --folder, readable for the visitor (a browser's cookie) who made it, and is deleted after --keep hours. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import get_args

from jasco_pl.generation.outline import DEFAULT_CHECKPOINT
from jasco_pl.system.device import Precision
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import explain_os_error
from jasco_pl.system.locks import alone

PORT = 8765
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it listens, what it serves, how much it takes."""
    where = parser.add_argument_group("where")
    where.add_argument("--port", type=int, default=PORT, help="default %(default)s; 0 is any that is free")
    where.add_argument("--host", default="127.0.0.1", help="address to listen at (default %(default)s: this machine alone)")
    where.add_argument("--auth", metavar="USER:PASSWORD", help="ask for them; needed by whoever can reach the address")
    where.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="a name the server is called by, where --host is no loopback (default: any)",
    )
    what = parser.add_argument_group("what")
    what.add_argument(
        "--checkpoint", default=DEFAULT_CHECKPOINT, metavar="DIR", help="model folder or Hub id (default: the shipped %(default)s)"
    )
    what.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default %(default)s)")
    what.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="of the network's weights (default %(default)s: bf16 on a GPU and on CPUs with AMX or AVX-512 BF16, else fp32)",
    )
    kept = parser.add_argument_group("limits")
    kept.add_argument("--folder", default="out/serve", metavar="DIR", help="where uploads and takes lie (default %(default)s)")
    kept.add_argument("--keep", type=float, default=168.0, metavar="HOURS", help="after which they are deleted (default %(default)s)")
    kept.add_argument(
        "--queue", type=int, default=64, metavar="N", help="jobs that may wait; beyond, it says that it is busy (default %(default)s)"
    )
    kept.add_argument("--takes", type=int, default=8, metavar="N", help="takes of a job, and takes made side by side (default %(default)s)")
    kept.add_argument("--upload-mib", type=int, default=32, metavar="N", help="size of an upload (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """0 when it was ended."""
    check(args)
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError(f"the page needs {error.name!r}, which is not installed: pip install 'jasco-pl[app]', or make setup.") from None
    from jasco_pl.app.access import host_name
    from jasco_pl.app.limits import Limits
    from jasco_pl.app.server import create_app
    from jasco_pl.app.serving import Serving
    from jasco_pl.app.store import Store
    from jasco_pl.generation.outline import Outline

    Outline.of(args.checkpoint)  # what leads nowhere is refused before torch is imported
    from jasco_pl.interop.hub import checkpoint_folder

    folder = checkpoint_folder(args.checkpoint)
    outline = Outline.of(folder)
    if outline is None:
        raise UserError(f"no JASCO checkpoint in {str(folder)!r}: its config.json is not understood.")
    limits = Limits(waiting=args.queue, takes=args.takes, at_once=args.takes, upload_bytes=args.upload_mib << 20, keep_hours=args.keep)
    told = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    guidance = str(told.get("guidance", "all=1.5 text=0.5"))
    store = Store(Path(args.folder), limits)
    try:
        store.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, store.root) from None
    serving = Serving(str(args.checkpoint), outline, guidance, bool(told.get("times")), lambda: _load(args), limits, store)
    hosts = frozenset({"127.0.0.1", "localhost", "[::1]"}) if args.host in LOOPBACK else frozenset(map(host_name, args.name)) or None
    app = create_app(serving, hosts, args.auth)
    config = uvicorn.Config(
        app,
        args.host,
        args.port,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=64 << 10,
    )
    server = uvicorn.Server(config)
    try:
        listening = config.bind_socket()
    except SystemExit:
        raise UserError(
            f"nothing can listen at {args.host}:{args.port}: this machine has no such address, or another program does so (--port)."
        ) from None
    listening.listen(config.backlog)  # who reads the address below and comes at once has to wait, and is not sent away
    port = listening.getsockname()[1]
    shown = f"[{args.host}]" if ":" in args.host else args.host
    print(f"open http://{shown}:{port} in a browser; Ctrl-C ends it", flush=True)
    if args.host not in LOOPBACK and args.auth is None:
        print("note: whoever reaches this address may use it: --auth USER:PASSWORD asks for a password", flush=True)
    taken = f"another server works in {str(store.root)!r}: end it, or name another folder (--folder)."
    with alone(store.root, taken), contextlib.suppress(KeyboardInterrupt):  # which the server passes on once it has ended in order
        server.run(sockets=[listening])
    return 0


def check(args: argparse.Namespace) -> None:
    """Raise UserError for what cannot be."""
    if not 0 <= args.port <= 65535:
        raise UserError(f"--port is from 0 to 65535, not {args.port}.")
    if args.auth is not None and not all(args.auth.partition(":")[::2]):
        raise UserError("--auth is USER:PASSWORD, both of them not empty.")
    for name in ("queue", "takes", "upload_mib"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(args, name)}.")
    if not args.keep > 0:
        raise UserError(f"--keep must be more than 0 hours, not {args.keep:g}.")


def _load(args: argparse.Namespace):  # type: ignore[no-untyped-def]
    from jasco_pl.generation.jasco import Jasco

    precision = args.precision
    if precision == "auto" and multiplies_bf16():
        precision = "bf16"
    return Jasco.from_pretrained(args.checkpoint, args.device, precision)


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for it (Linux on x86-64): the network is then more than twice as quick (docs/performance.md)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
