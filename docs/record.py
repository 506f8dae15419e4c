#!/usr/bin/env python3
"""Records the first entity: `new`, `dev`, `call` and `deploy` as they run, with their output and their timing.

    docs/record.py target/ci/entia docs/first-entity.cast
    npx svg-term-cli --in docs/first-entity.cast --out docs/first-entity.svg --window --no-cursor

A shell runs the commands below on a terminal of its own, in an empty directory, and all that it shows goes into an
asciicast (version 2) with the time at which it came. Nothing is cut and nothing added. Players shorten what is idle by
`idle_time_limit`, which the recording carries. With CARGO_TARGET_DIR of an earlier project's build the registry's crates
are not compiled again, as in any second project of an author who shares that directory.
"""

import codecs, fcntl, json, os, pty, struct, sys, tempfile, termios, time

WIDTH, HEIGHT = 100, 32

SESSION = r"""
set -m
run() { printf '\033[1;34m$\033[0m '; printf '%s' "$1" | sed -u 's/./&\n/g' | while IFS= read -r c; do
    printf '%s' "$c"; sleep 0.03; done; printf '\n'; eval "$1"; }
until_version() { until entia kinds show notebook 2>/dev/null | grep -q "^version  *$1,"; do sleep 0.2; done; sleep 1; }

run 'entia new notebook'
run 'cd notebook'
run 'entia dev &'
until_version 1
run "entia call notebook/mine write '{\"title\": \"milk\", \"text\": \"two litres\"}'"
sleep 2
run '# another limit, while it runs'
run "sed -i 's/NOTES_MAX: usize = 100/NOTES_MAX: usize = 2/' src/lib.rs"
until_version 2
run "entia call notebook/mine write '{\"title\": \"bread\", \"text\": \"one loaf\"}'"
sleep 2
run "entia call notebook/mine write '{\"title\": \"salt\", \"text\": \"a pinch\"}'"
sleep 2
run 'kill -INT %1; wait'
run '# a node that stays'
run 'entia node --data-dir ../data 2> ../node.log &'
until entia kinds > /dev/null 2>&1; do sleep 0.2; done
run 'entia deploy . --durable'
sleep 3
kill $!; wait
"""


def record(entia, cast):
    with tempfile.TemporaryDirectory() as home:
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(home)
            os.environ["PATH"] = os.path.dirname(entia) + os.pathsep + os.environ["PATH"]
            os.environ["TERM"] = "xterm-256color"
            for name in ("ENTIA_API", "ENTIA_HTTP", "ENTIA_LOG", "NO_COLOR"):
                os.environ.pop(name, None)
            os.execvp("bash", ["bash", "-c", SESSION])
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        began = time.time()
        header = {"version": 2, "width": WIDTH, "height": HEIGHT, "timestamp": int(began),
                  "idle_time_limit": 2.0, "title": "The first entity"}
        cast.write(json.dumps(header) + "\n")
        # Characters may arrive in pieces.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            try:
                shown = os.read(terminal, 65536)
            except OSError:
                shown = b""
            if not shown:
                break
            event = [round(time.time() - began, 3), "o", decoder.decode(shown)]
            cast.write(json.dumps(event, ensure_ascii=False) + "\n")
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[2], "w", encoding="utf-8") as cast:
        sys.exit(record(os.path.abspath(sys.argv[1]), cast))
