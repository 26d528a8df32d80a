"""The node that answers: it collects the mapper's scene and answers questions by service and action ``ask``."""

from __future__ import annotations

from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from s3d_ros.action import AskScene as AskSceneAction
from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.ros import asking, params, qos
from s3d_ros.ros.node_parameters import ANSWERER, CONVERTER, MAPPER
from s3d_ros.ros.question_queue import QuestionQueue, Ticket
from s3d_ros.ros.running import run, steady_timer
from s3d_ros.ros.scene_receiver import SceneReceiver
from s3d_ros.ros.scene_topics import listen_for_scene
from s3d_ros.srv import AskScene
from s3d_ros.types import Answer, ErrorCode, Scene

EXPIRY_PERIOD_S = 0.05


class AnswererNode(Node):
    """Converts, calls and publishes; the work is done by a SceneReceiver and a QuestionQueue's thread."""

    def __init__(self) -> None:
        super().__init__("answerer", automatically_declare_parameters_from_overrides=True)
        _, values = params.declare(self, ANSWERER, (*MAPPER, *CONVERTER))
        self._scenes = SceneReceiver()
        self._questions = QuestionQueue(
            GeometricAnswerer(),
            self._scenes.scene,
            self._scenes.missing,
            max_waiting=values["max_waiting"],
            deadline_s=values["deadline_s"],
            on_fault=lambda error: self.get_logger().error(f"the answerer failed: {type(error).__name__}: {error}"),
        )
        self._tickets: dict[bytes, Ticket] = {}
        listen_for_scene(self, self._scenes)
        self._serve()
        self.get_logger().info("waiting for the mapper's map; questions by service or action ask")

    def close(self) -> None:
        """End the answering thread."""
        self._questions.close()

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
        self._submit(request, future, lambda stage: None)
        answer, scene = await future
        return asking.fill_response(response, answer, scene, self._scenes.map_id)

    async def _on_goal(self, goal: Any) -> Any:
        def on_stage(stage: str, partial: str = "") -> None:
            goal.publish_feedback(AskSceneAction.Feedback(stage=stage, partial=partial))

        future: Future = Future()
        key = bytes(goal.goal_id.uuid)
        on_stage("waiting")
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
