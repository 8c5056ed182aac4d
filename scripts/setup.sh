#!/usr/bin/env bash
# Makes .venv with the packages of the locks, at their exact versions.
#
# Usage: scripts/setup.sh [base | dev | d4rl | test]
#   base  the packages of requirements.lock, and the project itself (default);
#   dev   also those of requirements-dev.lock: linter, tests, documentation;
#   d4rl  base and the real D4RL environments, which are compiled once;
#   test  dev and d4rl, but goes on without d4rl if nothing can be compiled.
#
# A stamp per part holds the hash of the files that it was made from, so that
# nothing is done twice; the next run completes an interrupted one.
# PYTHON=/path/to/python3.10 names the interpreter to use.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME  # They would hide packages that are missing here.

readonly venv=.venv
readonly python=$venv/bin/python
readonly log=$venv/setup.log

say() { printf '%s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# The hash of the named files and of this folder, to which the project is linked.
hash_of() { { pwd; cat -- "$@"; } | sha256sum | cut -d ' ' -f 1; }
is_stamped() { [ "$(cat "$venv/$1.stamp" 2>/dev/null)" = "$2" ]; }
stamp() { echo "$2" > "$venv/$1.new" && mv "$venv/$1.new" "$venv/$1.stamp"; }

# Runs the candidate, since pyenv's shims exist for absent versions, too.
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

# Says why the last command failed, if its log tells, and exits.
explain_failure() {
  local offline='NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError'
  offline+='|error sending request|dns error|operation timed out'
  if grep -qE "$offline" "$log"; then
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

# pip's setting of this name, from its environment or configuration, or nothing.
pip_setting() {
  local variable=PIP_${1^^}
  variable=${variable//-/_}
  if [ -n "${!variable:-}" ]; then echo "${!variable}"; return; fi
  "$python" -m pip config get "global.$1" 2>/dev/null || true
}

# Installs with uv, from pip's index. Links into uv's cache would let changes of
# installed files reach other environments.
uv_install() {
  local what=$1
  shift
  : "${UV_DEFAULT_INDEX:=$(pip_setting index-url)}"
  : "${SSL_CERT_FILE:=$(pip_setting cert)}"
  if [ -n "$UV_DEFAULT_INDEX" ]; then export UV_DEFAULT_INDEX; fi
  if [ -n "$SSL_CERT_FILE" ]; then export SSL_CERT_FILE; fi
  UV_LINK_MODE=copy $venv/bin/uv pip install --python "$python" --no-deps \
    --no-build-isolation "$@" 2>&1 </dev/null | tee "$log" \
    | { grep --line-buffered -E '^ *(Downloading|Building|Installed) ' || :; } \
    || explain_failure "Installing $what"
}

# Installs the packages of a lock and drops half-installed ones before.
install_lock() {
  "$python" scripts/drop_damaged.py
  say "Installing the $(grep -cE '^[A-Za-z0-9].*==' "$1") packages of $1."
  uv_install "$1" --require-hashes -r "$1"
}

# Whether the part is out of date. Waits for other runs of this script, which
# would install over this one, and removes the old stamp.
begin() {
  if is_stamped "$1" "$2"; then return 1; fi
  if [ -d $venv ]; then
    exec 9>$venv/setup.lock
    flock 9
    if is_stamped "$1" "$2"; then return 1; fi
  fi
  rm -f "$venv/$1.stamp"
}

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
  # pip is absent if making the environment was interrupted, or uv made it.
  "$python" -m pip --version >/dev/null 2>&1 \
    || "$python" -m ensurepip >"$log" 2>&1 || explain_failure 'Installing pip'
}

set_up_base() {
  local hash
  hash=$(hash_of requirements.lock setup.py pyproject.toml)
  begin base "$hash" || return 0
  [ "$(uname -sm)" = 'Linux x86_64' ] || die "this is $(uname -sm), but" \
    "Launchpad and Reverb exist for Linux x86_64 only: use such a machine."
  make_venv
  begin base "$hash" || return 0
  # Packages that come as sources are built with the lock's tools.
  awk '/^[^ #]/ { keep = /^(packaging|setuptools|uv|wheel)==/ } keep' \
    requirements.lock > $venv/tools.lock
  "$python" scripts/drop_damaged.py
  "$python" -m pip install --quiet --no-deps --no-input \
    --disable-pip-version-check --require-hashes -r $venv/tools.lock \
    >"$log" 2>&1 </dev/null || explain_failure 'Installing the tools'
  say 'The first time, about 1 GB is downloaded; 3 GB are needed on the disk.'
  install_lock requirements.lock
  say 'Installing acme_msg itself, linked to this folder.'
  uv_install acme_msg -e .
  stamp base "$hash"
  say "Ready after $SECONDS seconds."
}

set_up_dev() {
  local hash
  hash=$(hash_of requirements.lock requirements-dev.lock)
  begin dev "$hash" || return 0
  install_lock requirements-dev.lock
  stamp dev "$hash"
}

# Names what is missing for compiling a Python extension, or prints nothing.
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
  begin d4rl "$hash" || return 0
  install_lock requirements-d4rl.lock
  say 'Compiling their MuJoCo binding (about a minute).'
  "$python" -m acme_msg.environments.d4rl_build >"$log" 2>&1 </dev/null \
    || explain_failure 'Compiling the MuJoCo binding'
  stamp d4rl "$hash"
  say "D4RL is ready after $SECONDS seconds."
}

case ${1:-base} in
  base) set_up_base ;;
  dev) set_up_base; set_up_dev ;;
  d4rl) set_up_base; set_up_d4rl required ;;
  test) set_up_base; set_up_dev; set_up_d4rl optional ;;
  *) die "unknown part '$1': say base, dev, d4rl or test." ;;
esac
