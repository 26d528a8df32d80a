#!/usr/bin/env bash
# Build this package on a robot that has ROS 2 Jazzy from apt (Ubuntu 24.04).
#
#   cd ~/ros2_ws && src/s3d_ros/scripts/setup_robot.sh
#
# Ubuntu keeps pip out of its own Python, so what apt lacks goes into a virtual environment, ~/ros2_ws/venv,
# that sees the system's packages, ROS among them. ROS's Python modules were built for NumPy 1: the
# environment must not bring 2.
set -euo pipefail
package=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
workspace=$PWD
[[ -d $workspace/src ]] || { echo "Run this in the colcon workspace, the folder that holds src/." >&2; exit 1; }
[[ -f /opt/ros/jazzy/setup.bash ]] || { echo "ROS 2 Jazzy is not in /opt/ros/jazzy. Without ROS: make setup" >&2; exit 1; }
/usr/bin/python3 -c 'import ensurepip' || { echo "Try again after: sudo apt-get install python3-venv" >&2; exit 1; }
set +u; source /opt/ros/jazzy/setup.bash; set -u

rosdep install --from-paths "$package" --ignore-src -y --skip-keys "python3-open3d-pip python3-rosbags-pip"

/usr/bin/python3 -m venv --system-site-packages "$workspace/venv"
touch "$workspace/venv/COLCON_IGNORE"
source "$workspace/venv/bin/activate"
python "$package/scripts/requirements.py" > "$workspace/venv/requirements.txt"
python -m pip install -c "$package/scripts/numpy1.txt" -r "$workspace/venv/requirements.txt"
python -m pip install --no-deps -r "$package/scripts/without_dependencies.txt"

# With the environment's Python, so that the installed executables find what pip brought
colcon build --packages-select s3d_ros --cmake-args -DPython3_EXECUTABLE="$(command -v python)"
echo "Ready. In each new shell: source venv/bin/activate && source install/setup.bash"
