"""The node that maps: camera and pose in, objects, bird's-eye view, view frames and cloud out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

import s3d_ros.ros.cores  # noqa: F401  before Open3D
from s3d_ros.config import Config
from s3d_ros.frames import FrameAssembler
from s3d_ros.messages import Role
from s3d_ros.pipeline import FrameResult, Pipeline
from s3d_ros.ros import params, qos
from s3d_ros.ros.inputs import Inputs
from s3d_ros.ros.map_keeper import MapKeeper
from s3d_ros.ros.mapping_worker import MappingWorker
from s3d_ros.ros.node_parameters import ANSWERER, CONVERTER, MAPPER
from s3d_ros.ros.publishing import ScenePublisher
from s3d_ros.ros.refusion_process import RefusionProcess
from s3d_ros.ros.running import Heartbeat, run, soon, steady_timer
from s3d_ros.ros.segment_process import SegmentProcess
from s3d_ros.ros.status import Status
from s3d_ros.types import Frame


class MapperNode(Node):
    """Converts, calls and publishes. Callbacks hand messages to the MappingWorker, whose thread does the work."""

    def __init__(self) -> None:
        super().__init__("mapper", automatically_declare_parameters_from_overrides=True)
        config, values = params.declare(self, MAPPER, (*ANSWERER, *CONVERTER))
        self._pipeline = Pipeline(config)
        self._publisher = ScenePublisher(self, config.views.count, values["cloud_period_s"])
        self._keeper = MapKeeper(self, self._pipeline, values["map_directory"], values["autosave_period_s"])
        if values["load_at_start"]:
            self._keeper.load_at_start()
        self._segmenting = self._make_segmenting(config)
        self._remaking = RefusionProcess(config, self._on_trouble)
        self._worker = MappingWorker(
            # A detector's first instances may come after their frame: it has to be remembered already.
            FrameAssembler(
                config.frames,
                map_frame=config.map.frame_id,
                expect_instances=config.segment.takes_given,
            ),
            self._pipeline,
            self._on_frame,
            on_fault=self._on_fault,
            segmenter=self._segmenting,
            remaker=self._remaking,
            saver=self._keeper.saver,
            max_late_frames=values["max_late_frames"],
            instances_timeout_s=values["instances_timeout_s"] if config.segment.segmenter == "auto" else None,
            has_detector=lambda: self._inputs.has_publisher(Role.INSTANCES),
        )
        self._inputs = Inputs(
            self,
            self._worker.feed,
            image_transport=values["image_transport"],
            pose_type=values["pose_type"],
            pose_source=config.frames.pose_source,
            instances=config.segment.takes_given,
        )
        self._status = Status(self._worker, self._inputs.topics, self._inputs.has_publisher)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATUS)
        self.heartbeat = Heartbeat(self)
        steady_timer(self, 1.0, self._on_timer)
        together = ReentrantCallbackGroup()  # they wait for the mapping thread
        self.create_service(Trigger, "reset", self._on_reset, callback_group=together)
        self._keeper.serve(self._worker, self._start_map, together)
        self._start_map()
        self._worker.start()
        topics = ", ".join(sorted(set(self._inputs.topics.values())))
        self.get_logger().info(f"waiting for images and poses on {topics}")

    def close(self) -> None:
        """End the mapping thread and the processes; with autosave, save the map."""
        self._worker.close()
        self._remaking.close()
        self._keeper.close()
        if self._segmenting is not None:
            self._segmenting.close()

    def _make_segmenting(self, config: Config) -> SegmentProcess | None:
        if config.segment.segmenter not in ("auto", "geometric"):
            return None
        process = SegmentProcess(config.segment, self._on_trouble)
        process.start()  # so that it is there when the first frame is
        return process

    def _on_frame(self, frame: Frame, result: FrameResult, is_new: bool) -> None:
        if is_new and self._worker.counts["fused"] == 1:
            self.get_logger().info("the first frame is in the map")
        self._publisher.publish(frame, result, is_new, self._pipeline)

    def _on_trouble(self, text: str) -> None:
        self.get_logger().error(text, throttle_duration_sec=5.0)

    def _on_fault(self, error: BaseException) -> None:
        text = f"left out a frame: {type(error).__name__}: {error}"
        self.get_logger().error(text, throttle_duration_sec=5.0)

    def _start_map(self) -> None:
        self._publisher.start_map(self._pipeline.scene())

    def _on_timer(self) -> None:
        self._keeper.autosave()
        values, warnings = self._status.report()
        for line in warnings:
            self.get_logger().warning(line)
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK if self._status.is_ok else DiagnosticStatus.WARN,
            name=f"{self.get_fully_qualified_name()}",
            message=self._status.summary,
            hardware_id="s3d",
            values=[KeyValue(key=key, value=value) for key, value in values.items()]
            + [KeyValue(key="published", value=str(self._publisher.published))]
            + [KeyValue(key=key, value=value) for key, value in self.heartbeat.values().items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    async def _on_reset(self, request: Any, response: Any) -> Any:
        def start(done: Callable[[None], None]) -> None:
            def on_forgotten() -> None:
                self._start_map()
                done(None)

            self._worker.reset(on_forgotten)

        await soon(self, start)
        self.get_logger().info("the map was reset")
        response.success, response.message = True, "the map is empty; object IDs start anew with another map_id"
        return response


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    run(MapperNode, args)


if __name__ == "__main__":
    main()
