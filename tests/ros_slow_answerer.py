"""The answerer node with an answerer that takes as long as the question says: "2.5" takes two and a half seconds.

It says a letter each tenth of a second, and stops when it is told to: how often it did comes with the next answer.
"""

import threading
import time

from s3d_ros.answer.base import Progress
from s3d_ros.answer.choose import Chosen
from s3d_ros.ros import answerer
from s3d_ros.types import Answer, Question, Scene


class SlowAnswerer:
    """Takes its time, then repeats the question. "stubborn" hears of no cancel."""

    name = "slow"

    def __init__(self) -> None:
        self.stopped = 0
        self._lock = threading.Lock()

    def missing(self) -> str:
        return ""

    def update(self, scene: Scene) -> None:
        pass

    def close(self) -> None:
        pass

    def answer(self, question: Question, scene: Scene, progress: Progress) -> Answer:
        seconds, _, how = question.text.partition(" ")
        end = time.monotonic() + float(seconds)
        text = ""
        while time.monotonic() < end:
            if how == "stubborn":
                time.sleep(0.1)
            elif progress.cancelled.wait(0.1):
                with self._lock:
                    self.stopped += 1
                break
            text += "x"
            progress.on_stage("answering", text)
        return Answer(text=question.text, value=self.stopped, confidence=1.0)


answerer.choose = lambda config, on_event: Chosen(SlowAnswerer(), None, "slow")
answerer.main()
