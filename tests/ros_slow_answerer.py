"""The answerer node with an answerer that takes as long as the question says: "2.5" takes two and a half seconds."""

import time

from s3d_ros.ros import answerer
from s3d_ros.types import Answer, Question, Scene


class SlowAnswerer:
    """Sleeps, then repeats the question."""

    name = "slow"

    def answer(self, question: Question, scene: Scene) -> Answer:
        time.sleep(float(question.text))
        return Answer(text=question.text, confidence=1.0)


answerer.GeometricAnswerer = SlowAnswerer
answerer.main()
