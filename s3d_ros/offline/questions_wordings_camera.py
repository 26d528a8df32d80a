"""How people word questions about the camera: the five kinds of VSTI-Bench, as its official words and others.

Placeholders: {frame}, {start} and {end} are "frame 3 of 32"; {a} and {b} are names of things; {bare}, {any} and {all}
are lists of them.
"""

from __future__ import annotations

from s3d_ros.offline.questions_wordings import Wording, wordings

CAMERA: dict[str, tuple[Wording, ...]] = {
    "camera_obj_abs_dist": wordings(
        [
            "What is the approximate distance (in meters) between the camera (or the person filming) and the nearest "
            "point of the {a} in {frame}?",
        ],
        [
            "How far is the camera from the {a} in {frame}, in metres?",
            "In {frame}, how many metres are there between the camera and the {a}?",
            "What is the distance from the camera to the nearest point of the {a} in {frame}?",
            "How far away from the {a} is the camera in {frame}?",
        ],
        [
            "At {frame}, what is the distance between the camera and the closest point of the {a}, in meters?",
            "In {frame}, how far is the {a} from the camera?",
            "When {frame} was taken, how many meters away was the {a}?",
            "What distance separates the camera from the {a} in {frame}?",
            "Give the distance in metres of the {a} from the camera at {frame}.",
            "How close is the camera to the {a} in {frame}, in metres?",
        ],
    ),
    "camera_obj_rel_dist": wordings(
        [
            "Measuring from the closest point of each object, which of these objects ({bare}) is the closest to the "
            "camera in {frame}?",
        ],
        [
            "In {frame}, which is closest to the camera: {any}?",
            "Which of these is nearest to the camera in {frame}: {bare}?",
            "Of {all}, which one is the closest to the camera in {frame}?",
            "At {frame}, which of these things is the camera nearest to: {bare}?",
        ],
        [
            "When {frame} was taken, which was nearest to the camera: {any}?",
            "Which one is the least far from the camera in {frame}: {any}?",
            "In {frame}, the camera is closest to which of these: {bare}?",
            "Looking at {frame}, which of {all} is nearest to the camera?",
            "Among {all}, which is the closest one to the camera at {frame}?",
            "In {frame}, which of the following lies closest to the camera: {bare}?",
        ],
    ),
    "obj_obj_relative_pos_lr": wordings(
        ["In {frame}, relative to the {b}, is the {a} to the left or right?"],
        [
            "In {frame}, is the {a} to the left or to the right of the {b}?",
            "Is the {a} left or right of the {b} in {frame}?",
            "As seen in {frame}, is the {a} on the left or on the right of the {b}?",
            "On which side of the {b} is the {a} in {frame}, left or right?",
        ],
        [
            "Looking at {frame}, would you say that the {a} is left or right of the {b}?",
            "In {frame}, does the {a} appear to the left or to the right of the {b}?",
            "From the camera's view in {frame}, is the {a} to the right or to the left of the {b}?",
            "Left or right: where is the {a} relative to the {b} in {frame}?",
            "Seen by the camera at {frame}, is the {a} right or left of the {b}?",
            "In {frame}, which side of the {b} is the {a} on: left or right?",
        ],
    ),
    "obj_obj_relative_pos_ud": wordings(
        ["In {frame}, relative to the {b}, is the {a} to the up or down?"],
        [
            "In {frame}, is the {a} above or below the {b}?",
            "Is the {a} higher or lower than the {b} in the camera's view in {frame}?",
            "As seen in {frame}, is the {a} above or below the {b}?",
            "In {frame}, is the {a} further up or further down than the {b}?",
        ],
        [
            "Looking at {frame}, would you say that the {a} is up or down from the {b}?",
            "In {frame}, does the {a} appear above or below the {b}?",
            "From the camera's view in {frame}, is the {a} below or above the {b}?",
            "Up or down: where is the {a} relative to the {b} in {frame}?",
            "Seen by the camera at {frame}, is the {a} lower or higher than the {b}?",
            "In the view of {frame}, is the {a} over or under the {b}?",
        ],
    ),
    "obj_obj_relative_pos_nf": wordings(
        ["In {frame}, relative to the camera, is the {a} near or far compared to the {b}?"],
        [
            "In {frame}, is the {a} nearer to the camera or further away than the {b}?",
            "Is the {a} nearer or farther than the {b} in {frame}?",
            "As seen in {frame}, is the {a} nearer or further than the {b}?",
            "In {frame}, is the {a} near or far in comparison with the {b}?",
        ],
        [
            "Looking at {frame}, is the {a} nearer or further away than the {b}?",
            "In {frame}, does the {a} appear nearer or farther than the {b}?",
            "From the camera's view in {frame}, is the {a} farther or nearer than the {b}?",
            "Near or far: where is the {a} relative to the {b} in {frame}?",
            "Seen by the camera at {frame}, is the {a} further or nearer than the {b}?",
            "Compared to the {b}, is the {a} near to or far from the camera in {frame}?",
        ],
    ),
    "camera_displacement": wordings(
        ["Approximately how far (in meters) did the camera move between {start} and {end}?"],
        [
            "How many metres did the camera move between {start} and {end}?",
            "How far apart are the positions of the camera in {start} and {end}, in metres?",
            "What is the distance between where the camera was in {start} and where it was in {end}?",
            "From {start} to {end}, how far did the camera move, in metres?",
        ],
        [
            "How far did the camera get from {start} to {end}, in meters?",
            "By how many meters did the camera's position change between {start} and {end}?",
            "What is the camera's displacement from {start} to {end}, in metres?",
            "In a straight line, how far did the camera travel between {start} and {end}?",
            "How many metres lie between the camera's positions at {start} and at {end}?",
            "Give the distance in metres by which the camera moved between {start} and {end}.",
        ],
    ),
    "camera_movement_direction": wordings(
        [
            "During the sequence between {start} and {end}, what was the primary consistent direction of the camera's "
            "movement relative to its orientation at the start?",
        ],
        [
            "Which way did the camera move between {start} and {end}, as seen from {start}?",
            "Between {start} and {end}, in which direction did the camera mainly move relative to where it first "
            "looked?",
            "From {start} to {end}, did the camera move forward, backward, left or right?",
            "In which direction did the camera move from {start} to {end}, relative to its orientation at the start?",
        ],
        [
            "What was the main direction of the camera's movement between {start} and {end}, seen from its view at "
            "the start?",
            "Relative to its view in {start}, which way did the camera go until {end}?",
            "Did the camera mostly go left, right, forward or backward between {start} and {end}?",
            "Where did the camera move to between {start} and {end}: forward, backward, left or right?",
            "Judging by {start} and {end}, which way did the camera move?",
            "Taking its orientation in {start}, in what direction did the camera travel up to {end}?",
        ],
    ),
}
