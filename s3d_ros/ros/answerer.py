"""The node that answers: it collects the mapper's scene and answers questions by service and action ``ask``."""

from __future__ import annotations

from collections import Counter
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future

from s3d_ros.action import AskScene as AskSceneAction
from s3d_ros.answer.choose import Chosen, choose
from s3d_ros.answer.settings import AnswererConfig, taught
from s3d_ros.ros import asking, params, qos
from s3d_ros.ros.node_parameters import CONVERTER, MAPPER, answerer_parameters
from s3d_ros.ros.question_queue import QuestionQueue, Ticket
from s3d_ros.ros.running import Heartbeat, run, steady_timer
from s3d_ros.ros.scene_receiver import SceneReceiver
from s3d_ros.ros.scene_topics import listen_for_scene
from s3d_ros.ros.scene_updates import SceneUpdates
from s3d_ros.srv import AskScene
from s3d_ros.types import Answer, ErrorCode, Scene

EXPIRY_PERIOD_S = 0.05


class AnswererNode(Node):
    """Converts, calls and publishes; the work is done by a SceneReceiver and a QuestionQueue's threads."""

    def __init__(self) -> None:
        super().__init__("answerer", automatically_declare_parameters_from_overrides=True)
        model = str(self.get_parameter_or("model", Parameter("model", value="")).value)
        own = taught(model)
        _, values = params.declare(self, answerer_parameters(own), (*MAPPER, *CONVERTER))
        for name, value in own.items():
            if values.get(name, value) != value:
                self.get_logger().warning(
                    f"{name} is {values[name]}, but {model} was trained with {value}: its answers may be worth "
                    f"nothing; leave {name} out of the parameters"
                )
        names = {name for name, _, _ in AnswererConfig().flat()}
        config = AnswererConfig.from_flat({name: value for name, value in values.items() if name in names})
        self._chosen = self._choose(config)
        self._scenes = SceneReceiver(lambda: self._updates.notify())
        self._questions = QuestionQueue(
            self._chosen.answerer,
            self._scenes.scene,
            self._scenes.missing,
            max_waiting=values["max_waiting"],
            deadline_s=values["deadline_s"],
            workers=values["workers"],
            on_fault=lambda error: self._on_fault("the answerer failed", error),
        )
        self._updates = SceneUpdates(
            self._chosen.answerer,
            self._scenes.scene,
            lambda: self._scenes.map_id,
            lambda error: self._on_fault("a scene was not read ahead", error),
        )
        self._tickets: dict[bytes, Ticket] = {}
        self._counts: Counter[str] = Counter()
        self._said = ""
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATUS)
        self.heartbeat = Heartbeat(self)
        listen_for_scene(self, self._scenes)
        self._serve()
        steady_timer(self, 1.0, self._on_timer)
        self.get_logger().info(
            f"waiting for the mapper's map; questions by service or action ask; answerer: {self._chosen.name}"
        )

    def close(self) -> None:
        """End the answering threads, and the model."""
        self._updates.close()
        self._questions.close()
        self._chosen.answerer.close()

    def _choose(self, config: AnswererConfig) -> Chosen:
        return choose(config, on_event=lambda text: self.get_logger().info(text))

    def _on_fault(self, what: str, error: BaseException) -> None:
        self.get_logger().error(f"{what}: {type(error).__name__}: {error}")

    def _on_timer(self) -> None:
        """Say whether questions can be asked, and how the model is."""
        self._updates.notify()  # the model may be there by now
        missing = self._questions.missing()
        waits_for = missing or self._chosen.missing()  # auto: some questions can be answered without the model
        open_ones = self._questions.expire()
        values = {
            "answerer": self._chosen.name,
            "ready": str(not missing).lower(),
            "map/version": str(getattr(self._scenes.scene(), "map_version", "")),
            "questions/open": str(open_ones),
            **{f"questions/{what}": str(count) for what, count in sorted(self._counts.items())},
            **{f"model/{key}": value for key, value in self._chosen.status().items()},
            **self.heartbeat.values(),
        }
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if waits_for else DiagnosticStatus.OK,
            name=self.get_fully_qualified_name(),
            message=waits_for or "ready",
            hardware_id="s3d",
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
        if (missing == "") != (self._said == ""):
            self.get_logger().info(f"not ready: {missing}" if missing else "ready for questions")
        self._said = missing

    def _serve(self) -> None:
        # Reentrant: one question must not hold up the next while it is waited for
        group = ReentrantCallbackGroup()
        self.create_service(AskScene, "ask", self._on_service, qos_profile=qos.QUESTIONS, callback_group=group)
        self._action = ActionServer(
            self,
            AskSceneAction,
            "ask",
            self._on_goal,
            cancel_callback=self._on_cancel,
            callback_group=group,
            goal_service_qos_profile=qos.QUESTIONS,
            result_service_qos_profile=qos.QUESTIONS,
        )
        steady_timer(self, EXPIRY_PERIOD_S, self._questions.expire)

    async def _on_service(self, request: Any, response: Any) -> Any:
        future: Future = Future()
        self._submit(request, future, lambda stage, partial: None)
        answer, scene = await future
        return asking.fill_response(response, answer, scene, self._scenes.map_id)

    async def _on_goal(self, goal: Any) -> Any:
        def on_stage(stage: str, partial: str) -> None:
            goal.publish_feedback(AskSceneAction.Feedback(stage=stage, partial=partial))

        future: Future = Future()
        key = bytes(goal.goal_id.uuid)
        on_stage("waiting", "")
        ticket = self._submit(goal.request, future, on_stage)
        if ticket is not None:
            self._tickets[key] = ticket
        try:
            answer, scene = await future
        finally:
            self._tickets.pop(key, None)
        if goal.is_cancel_requested:
            goal.canceled()
        elif answer.success:
            goal.succeed()
        else:
            goal.abort()
        return asking.fill_response(AskSceneAction.Result(), answer, scene, self._scenes.map_id)

    def _on_cancel(self, goal: Any) -> CancelResponse:
        ticket = self._tickets.get(bytes(goal.goal_id.uuid))
        if ticket is None or not ticket.fail(ErrorCode.CANCELLED, "cancelled by the asker"):
            return CancelResponse.REJECT  # answered already
        return CancelResponse.ACCEPT

    def _submit(self, request: Any, future: Future, on_stage: Any) -> Ticket | None:
        """Queue a question. The future is done by another thread, or at once; it then wakes the executor."""
        executor = self.executor

        def on_done(answer: Answer, scene: Scene | None) -> None:
            self._counts.update(["asked", str(answer.error) or "answered"])
            future.set_result((answer, scene))
            if executor is not None:
                executor.wake()

        try:
            question = asking.question_of(request, self._scenes.scene())
        except asking.BadRequest as error:
            on_done(Answer(text=str(error), error=ErrorCode.BAD_QUESTION), None)
            return None
        return self._questions.submit(question, on_done, on_stage)


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    run(AnswererNode, args)


if __name__ == "__main__":
    main()
