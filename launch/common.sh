# Sourced by ./launch/quickstart and ./tests/run, with the repository as the working directory.
# POSIX sh. $program names the script in messages.

say() { printf '%s: %s\n' "$program" "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# missing_packages LIST …
missing_packages() {
  cat -- "$@" | while read -r package; do
    case $package in '' | '#'*) continue ;; esac
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      printf ' %s' "$package"
  done
}

# may_install: sets as_root to what runs programs as root; fails where nothing may.
may_install() {
  if [ "$(id -u)" = 0 ]; then
    as_root='env DEBIAN_FRONTEND=noninteractive'
  elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root='sudo env DEBIAN_FRONTEND=noninteractive'
  else
    return 1
  fi
}

# tell_to_install PACKAGES, by whom may_install fails for.
tell_to_install() {
  say "packages are missing, and this user may not install them. As root, run"
  printf '  apt-get update && apt-get install -y --no-install-recommends%s\n' "$1" >&2
}

# A source that is out of reach need not be the one that is needed.
update_lists() {
  $as_root apt-get update -q || say "apt-get update failed; trying with the lists that are here"
}

install_packages() {
  say "installing$1"
  # shellcheck disable=SC2086  # lists of words
  $as_root apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 $1
}

# ensure_packages LIST …: installs what these files list and the system lacks, as root or through
# sudo. Who may not install is told the command; who has everything is not asked for anything.
ensure_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system: going on with what is here ($* lists the needs)"
    return
  fi
  packages=$(missing_packages "$@")
  [ -n "$packages" ] || return 0
  if ! may_install; then
    tell_to_install "$packages"
    exit 1
  fi
  update_lists
  install_packages "$packages" || fail "apt-get could not install$packages"
}

# offer_packages LIST …: the same of what one can do without, such as what another release lacks.
offer_packages() {
  command -v dpkg-query >/dev/null || return 0
  packages=$(missing_packages "$@")
  [ -n "$packages" ] || return 0
  if may_install; then
    update_lists
    known=
    for package in $packages; do
      if apt-cache show "$package" >/dev/null 2>&1; then
        known="$known $package"
      else
        say "this system knows no package $package"
      fi
    done
    [ -z "$known" ] || install_packages "$known" || say "apt-get could not install$known"
  else
    tell_to_install "$packages"
  fi
  packages=$(missing_packages "$@")
  [ -z "$packages" ] || say "going on without$packages"
}

cores() { nproc 2>/dev/null || echo 1; }

# As many compilers as there are cores, while each has 1.5 GiB of memory.
build_jobs() {
  kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo 2>/dev/null)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null)
  case $limit in
    '' | max | *[!0-9]*) ;;
    *) [ "${kib:-0}" -lt $((limit / 1024)) ] || kib=$((limit / 1024)) ;;
  esac
  jobs=$((${kib:-1572864} / 1572864))
  [ "$jobs" -le "$(cores)" ] || jobs=$(cores)
  [ "$jobs" -ge 1 ] || jobs=1
  echo "$jobs"
}

# configure PRESET [cmake options]
configure() {
  preset=$1
  cmake --preset "$@" --log-level=WARNING >/dev/null ||
    fail "configuring failed: the lines above say why ('cmake --preset $preset' says more)"
}

# build PRESET [targets]
build() {
  preset=$1
  shift
  [ $# -eq 0 ] || set -- --target "$@"
  cmake --build --preset "$preset" -j "$(build_jobs)" "$@" ||
    fail "building failed: the first error above says why"
}
