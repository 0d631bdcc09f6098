# Sourced by the other scripts: makes or reuses .venv with one extra of the project. Prints to standard error only.
# Usage: . scripts/venv.sh; make_venv EXTRA

say() { printf '%s\n' "$*" >&2; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return 0
        fi
    done
    say "Python 3.11 or newer is needed and was not found; on Debian 12: apt-get install python3 python3-venv (or set PYTHON=/path/to/python3.11)."
    return 1
}

make_venv() {
    extra=$1
    stamp=.venv/installed-$extra
    wanted=$(cat pyproject.toml constraints.txt | cksum)
    if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    python=$(find_python) || return 2
    if [ ! -x .venv/bin/python ]; then
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            say "$python cannot make virtual environments; on Debian: apt-get install python3-venv"
            return 2
        fi
        say "making .venv with $("$python" --version 2>&1) ..."
        rm -rf .venv
        "$python" -m venv .venv >&2 || return 2
    fi
    say "installing energy-metrology-gateway[$extra] into .venv (once; later starts reuse it) ..."
    if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extra]" >&2; then
        say "pip could not install the packages named in constraints.txt: is a package index reachable?"
        return 2
    fi
    printf '%s' "$wanted" >"$stamp"
}
