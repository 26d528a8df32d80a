"""What of a config's parts can't work, said before anything is loaded."""

from __future__ import annotations

from s3d_ros.train.config import ReconstructConfig, TrainConfig, TrainError
from s3d_ros.train.parts.autoencoder import CELL_PX
from s3d_ros.train.parts.targets import scene_bev
from s3d_ros.train.reader import TrainingSet


def check_switches(config: TrainConfig) -> None:
    """Raises TrainError for switches that can't work together."""
    asked = config.reconstruct
    if config.ground.head and config.tune.method == "lora":
        raise TrainError(
            "ground.head = true needs tune.method = full: its token is a new word, and adapters leave the words as "
            "they are"
        )
    if config.ground.head and config.data.together > 1:
        raise TrainError(
            f"ground.head = true compares the objects of one question, and data.together = {config.data.together} "
            "learns several at once; set it to 1"
        )
    if config.data.text_share < 1 and not asked.on:
        raise TrainError(
            f"data.text_share = {config.data.text_share:g} leaves scenes without text, from which nothing would be "
            "learnt: switch on reconstruct.cross_view or reconstruct.global_view, or set it to 1"
        )
    if not asked.on:
        return
    for key in ("view_px", "bev_px"):
        if getattr(asked, key) % CELL_PX:
            raise TrainError(f"reconstruct.{key} = {getattr(asked, key)} is no multiple of {CELL_PX}")
    if asked.width % 32:
        raise TrainError(f"reconstruct.width = {asked.width} is no multiple of 32; 0 chooses one")
    if asked.condition == "pose" and not asked.cross_view:
        raise TrainError("reconstruct.condition = pose is of use with reconstruct.cross_view only; switch that on")
    if asked.condition == "pose" and not config.position.codes:
        raise TrainError(
            "reconstruct.condition = pose tells the denoiser a place in the map, which the language model can't relate "
            "to what it sees without 3D positions: set position.codes to true, or condition to frames"
        )


def check_scenes(records: TrainingSet, asked: ReconstructConfig) -> None:
    """Raises TrainError where scenes have nothing to recover."""
    for scene in records.scenes():
        if asked.global_view and scene_bev(scene) is None:
            raise TrainError(
                f"reconstruct.global_view: {scene.key} has no bird's-eye view; build the set with prompt.bev"
            )
    if asked.cross_view and all(len(scene.views) < 2 for scene in records.scenes()):
        raise TrainError("reconstruct.cross_view: no scene has two view frames, so none can be taken away")
