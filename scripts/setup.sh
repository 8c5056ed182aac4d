#!/usr/bin/env bash
# Makes .venv with everything the project needs, at the versions of the locks.
#
# Usage: scripts/setup.sh [base | d4rl | test]
#   base  the packages of requirements.lock, and the project itself (default);
#   d4rl  also the real D4RL environments, which are compiled once;
#   test  like d4rl, but goes on without them where nothing can be compiled.
#
# What is done already is not done again: a stamp per part holds the hash of the
# files it was made from. A run that was interrupted is completed by the next.
# PYTHON=/path/to/python3.10 names the interpreter to use.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME  # Packages from elsewhere must not count as here.

readonly venv=.venv
readonly python=$venv/bin/python
readonly log=$venv/setup.log

say() { printf '%s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# The hash of the named files, and of the place that the project is linked from.
hash_of() { { pwd; cat -- "$@"; } | sha256sum | cut -d ' ' -f 1; }
is_stamped() { [ "$(cat "$venv/$1.stamp" 2>/dev/null)" = "$2" ]; }
stamp() { echo "$2" > "$venv/$1.new" && mv "$venv/$1.new" "$venv/$1.stamp"; }

# Runs the candidate: a name on the PATH may be a shim without a Python behind.
is_python310() {
  "$1" -c 'import ensurepip, sys, venv
sys.exit(sys.version_info[:2] != (3, 10))' >/dev/null 2>&1 </dev/null
}

find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ] && ! is_python310 "$PYTHON"; then
    say "PYTHON=$PYTHON is no Python 3.10 with venv: looking elsewhere." >&2
  fi
  for candidate in ${PYTHON:+"$PYTHON"} python3.10 python3 python \
      "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.10.*/bin/python; do
    if is_python310 "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  if command -v uv >/dev/null; then
    say 'Fetching Python 3.10 with uv.' >&2
    if uv python install --quiet 3.10 >&2; then
      candidate=$(uv python find --managed-python --system 3.10)
      if is_python310 "$candidate"; then
        echo "$candidate"
        return
      fi
    fi
    die "uv could not fetch Python 3.10: connect this machine to the network" \
      "or install Python 3.10, then run the command again."
  fi
  die "Python 3.10 with its venv module was not found: install it (Ubuntu" \
    "22.04: python3.10-venv; elsewhere: pyenv install 3.10) or install uv," \
    "which fetches it, then run the command again; PYTHON=/path/to/python3.10" \
    "names one that is not on the PATH."
}

# Says why the last command failed, as far as its log tells, and ends.
explain_failure() {
  if grep -qE 'NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError' "$log"
  then
    die "the package index cannot be reached: connect this machine to the" \
      "network (or set pip's proxy or mirror) and run the command again; what" \
      "is installed is kept (log: $log)."
  elif grep -q 'No space left on device' "$log"; then
    die "the disk is full: free 6 GB for the packages and run the command" \
      "again; what is installed is kept (log: $log)."
  fi
  tail -n 15 "$log" >&2
  die "$1 failed as shown; the whole log is $log."
}

# Installs with pip: all it says goes to the log, a line now and then is shown.
pip_install() {
  local what=$1 total=$2 seen=0 line
  shift 2
  if ! "$python" -m pip install --no-deps --no-build-isolation --no-input \
      --disable-pip-version-check --progress-bar off "$@" 2>&1 </dev/null \
      | tee "$log" | while IFS= read -r line; do
        case $line in
          'Collecting '* | 'Requirement already satisfied: '*)
            seen=$((seen + 1))
            if [ $((seen % 25)) = 0 ]; then say "  $seen of $total fetched"; fi ;;
          'Installing collected packages: '*) say '  unpacking' ;;
        esac
      done; then
    explain_failure "Installing $what"
  fi
}

count() { grep -cE '^[A-Za-z0-9].*==' "$1"; }

make_venv() {
  if [ ! -e $python ] && [ ! -L $python ]; then
    local base
    base=$(find_python)
    say "Making $venv with $("$base" --version) ($base)."
    mkdir -p $venv
    "$base" -m venv $venv >"$log" 2>&1 </dev/null \
      || explain_failure "Making $venv"
  fi
  is_python310 $python || die "$venv/ exists but holds no working Python 3.10:" \
    "move it away and run the command again."
  # Absent where making the environment was interrupted, or where uv made it.
  "$python" -m pip --version >/dev/null 2>&1 \
    || "$python" -m ensurepip >"$log" 2>&1 || explain_failure 'Installing pip'
}

set_up_base() {
  local hash
  hash=$(hash_of requirements.lock setup.py pyproject.toml)
  if is_stamped base "$hash"; then return; fi
  [ "$(uname -sm)" = 'Linux x86_64' ] || die "this is $(uname -sm), but" \
    "Launchpad and Reverb exist for Linux x86_64 only: use such a machine."
  make_venv
  exec 9>$venv/setup.lock
  flock 9  # Two at once would install over each other; the second waits here.
  if is_stamped base "$hash"; then return; fi
  rm -f $venv/base.stamp
  "$python" scripts/drop_damaged.py
  # First what builds the few packages that come as sources: pip would fetch
  # the newest for each of them, past the lock, if it built them in isolation.
  awk '/^[^ #]/ { keep = /^(packaging|setuptools|wheel)==/ } keep' \
    requirements.lock > $venv/build-tools.lock
  say 'Installing the build tools.'
  pip_install 'the build tools' 3 --require-hashes -r $venv/build-tools.lock
  local total
  total=$(count requirements.lock)
  say "Installing the $total packages of requirements.lock (about 1 GB to" \
    "download the first time, 3 GB on disk)."
  pip_install 'requirements.lock' "$total" --require-hashes -r requirements.lock
  say 'Installing acme_msg itself, linked to this folder.'
  pip_install 'acme_msg' 1 -e .
  stamp base "$hash"
  say "Ready after $SECONDS seconds."
}

# What is missing for compiling a Python extension, in a word; else nothing.
missing_for_compiling() {
  local compiler=${CC:-gcc}
  if ! command -v "${compiler%% *}" >/dev/null; then
    echo "a C compiler ($compiler)"
  elif [ ! -e "$("$python" -c 'import sysconfig
print(sysconfig.get_path("include"))')/Python.h" ]; then
    echo 'the headers of Python 3.10 (python3.10-dev)'
  fi
}

set_up_d4rl() {
  local hash missing
  hash=$(hash_of requirements.lock requirements-d4rl.lock \
    environments/d4rl_build.py)
  if is_stamped d4rl "$hash"; then return; fi
  missing=$(missing_for_compiling)
  if [ -n "$missing" ]; then
    if [ "$1" = optional ]; then
      say "This machine lacks $missing: going on without the real D4RL" \
        "environments, and skipping their tests."
      return
    fi
    die "this machine lacks $missing, which the real D4RL environments are" \
      "compiled with: install it and run the command again."
  fi
  exec 9>$venv/setup.lock
  flock 9
  if is_stamped d4rl "$hash"; then return; fi
  rm -f $venv/d4rl.stamp
  "$python" scripts/drop_damaged.py
  say 'Installing the real D4RL environments.'
  pip_install 'requirements-d4rl.lock' "$(count requirements-d4rl.lock)" \
    --require-hashes -r requirements-d4rl.lock
  say 'Compiling their MuJoCo binding (about a minute).'
  "$python" -m acme_msg.environments.d4rl_build >"$log" 2>&1 </dev/null \
    || explain_failure 'Compiling the MuJoCo binding'
  stamp d4rl "$hash"
  say "D4RL is ready after $SECONDS seconds."
}

case ${1:-base} in
  base) set_up_base ;;
  d4rl) set_up_base; set_up_d4rl required ;;
  test) set_up_base; set_up_d4rl optional ;;
  *) die "unknown part '$1': say base, d4rl or test." ;;
esac
