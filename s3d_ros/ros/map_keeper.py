"""Saves and loads the mapper's map: by service, at the start, every so often, and at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from s3d_ros.keys import ConfigError
from s3d_ros.mapfile import MapFileError, check_target, newest_map, read_map
from s3d_ros.pipeline import Pipeline
from s3d_ros.ros.mapping_worker import MappingWorker
from s3d_ros.ros.running import soon
from s3d_ros.ros.save_process import SaveProcess
from s3d_ros.srv import LoadMap, SaveMap

_LAST_SAVE_S = 20.0  # at the end the node waits so long for its map
_REST_S = 0.004  # between two steps of loading: Python runs one thread at a time
_NO_DIRECTORY = "name a directory in the request, or set the parameter map_directory"
Done = Callable[[tuple[bool, str]], None]


class MapKeeper:
    """``serve`` once there is a worker, ``autosave`` every second, ``close`` when the worker has ended."""

    def __init__(self, node: Node, pipeline: Pipeline, directory: str, autosave_period_s: float) -> None:
        """directory: "" for none. Raises ConfigError, MapFileError when it is no place for maps."""
        if autosave_period_s and not directory:
            raise ConfigError(f"autosave_period_s is {autosave_period_s:g}, but map_directory is empty: name a folder")
        if directory:
            check_target(directory)
        self.saver = SaveProcess(pipeline)
        self._node, self._log, self._pipeline = node, node.get_logger(), pipeline
        self._directory, self._period_s = directory, autosave_period_s
        self._saved_at, self._saved_frames = time.monotonic(), 0
        self._worker: MappingWorker | None = None

    def load_at_start(self) -> None:
        """Go on with the map that was saved, if there is one.

        Raises MapFileError, ConfigError for one that can't be used: to begin another would be to replace it.
        """
        if self._directory and (folder := newest_map(self._directory)) is not None:
            self._pipeline.restore(read_map(self._directory))
            self._log.info(f"going on with {folder}: {len(self._pipeline.scene().objects)} objects")

    def serve(self, worker: MappingWorker, start_map: Callable[[], None], group: CallbackGroup) -> None:
        """Offer the services. start_map: publishes that another map begins; called in the mapping thread."""
        self._worker, self._start_map = worker, start_map
        self._node.create_service(SaveMap, "save_map", self._on_save, callback_group=group)
        self._node.create_service(LoadMap, "load_map", self._on_load, callback_group=group)

    def autosave(self) -> None:
        """Save the map if it is time and there is news."""
        if self._is_unsaved and not self.saver.is_busy and time.monotonic() - self._saved_at >= self._period_s:
            assert self._worker is not None
            self._saved_at, self._saved_frames = time.monotonic(), self._worker.counts["fused"]
            self._worker.save(Path(self._directory), self._on_autosaved)

    def close(self) -> None:
        """With autosave, save the map; finish what is under way."""
        if self._is_unsaved:
            self.saver.save(Path(self._directory), self._on_autosaved)
        self.saver.close(_LAST_SAVE_S)

    @property
    def _is_unsaved(self) -> bool:
        return self._period_s > 0 and self._worker is not None and self._worker.counts["fused"] > self._saved_frames

    def _on_autosaved(self, success: bool, text: str) -> None:
        if success:
            self._log.info(f"saved {text}", throttle_duration_sec=60.0)
        else:
            self._saved_frames = -1  # it is tried again
            self._log.error(f"the map is not saved: {text}")

    async def _on_save(self, request: Any, response: Any) -> Any:
        directory, worker = request.directory or self._directory, self._worker
        if not directory or worker is None:
            response.message = _NO_DIRECTORY
            return response

        def start(done: Done) -> None:
            worker.save(Path(directory), lambda success, text: done((success, text)))

        response.success, response.message = await soon(self._node, start)
        self._log.info(f"{'saved' if response.success else 'the map is not saved:'} {response.message}")
        return response

    async def _on_load(self, request: Any, response: Any) -> Any:
        directory = request.directory or self._directory
        if not directory:
            response.message = _NO_DIRECTORY
            return response

        def start(done: Done) -> None:
            threading.Thread(target=self._load, args=(directory, done), name="loading", daemon=True).start()

        response.success, response.message = await soon(self._node, start)
        self._log.info(f"{'loaded' if response.success else 'no map was loaded:'} {response.message}")
        return response

    def _load(self, directory: str, done: Done) -> None:
        """Make the map that was saved, then have it put in the place of the present one between two frames."""
        try:
            folder = newest_map(directory)
            loaded = Pipeline(self._pipeline.config)
            loaded.restore(read_map(directory), lambda: time.sleep(_REST_S))
        except (MapFileError, ConfigError) as error:
            done((False, str(error)))
        except Exception as error:  # whatever those files hold: the present map stays, and the asker is told
            done((False, f"{directory} can't be used: {type(error).__name__}: {error}"))
        else:
            text = f"{folder}: {len(loaded.scene().objects)} objects"

            replaced = threading.Event()

            def on_replaced() -> None:
                self._start_map()
                done((True, text))
                replaced.set()

            assert self._worker is not None
            self._worker.replace(loaded, on_replaced)
            replaced.wait()  # so that the old map is freed here, not by the thread that maps
            time.sleep(0.1)
