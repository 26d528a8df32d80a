"""Let this virtual environment import the package's modules from where they are edited.

`s3d_ros` is two folders here: the modules in the source tree, and the generated `msg`, `srv` and
`action` in the environment. A `.pth` file makes every Python of the environment see them as one,
whichever of the two comes first on its path. A whole copy that is on the path, such as one sourced
from `install/setup.bash`, is left alone.

(`pip install -e` won't do: it takes the generated messages for an older copy and removes them.)
"""

import sys
import sysconfig
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "s3d_ros"

FINDER = '''\
"""Written by scripts/use_in_place.py: s3d_ros = its source tree + its generated messages."""

import os
import sys
from importlib.util import spec_from_file_location

SOURCE = {source!r}
GENERATED = os.path.join(os.path.dirname(__file__), "s3d_ros")


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "s3d_ros" or not os.path.isdir(SOURCE):
            return None
        places = [SOURCE, GENERATED]
        for folder in sys.path:
            built = os.path.join(folder, "s3d_ros")
            if os.path.isdir(os.path.join(built, "msg")):
                if os.path.realpath(built) != os.path.realpath(GENERATED):
                    places = [built]  # a whole copy, installed elsewhere
                break
        init = os.path.join(places[0], "__init__.py")
        return spec_from_file_location(name, init, submodule_search_locations=places)


sys.meta_path.insert(0, Finder)
'''

COMMAND = """\
#!{python}
from s3d_ros.cli import app

if __name__ == "__main__":  # spawned processes import this again
    app()
"""


def main() -> None:
    site = Path(sysconfig.get_path("purelib"))
    site.joinpath("_s3d_ros_in_place.py").write_text(FINDER.format(source=str(SOURCE)))
    site.joinpath("_s3d_ros_in_place.pth").write_text("import _s3d_ros_in_place\n")
    command = Path(sysconfig.get_path("scripts"), "s3d")
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    print(f"s3d_ros is used from {SOURCE}")


if __name__ == "__main__":
    main()
