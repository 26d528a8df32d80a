"""``s3d ask``: which answerer, from where, in a talk, and what is wrong with what was given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from openai_servers import Scripted, free_port, says
from small_run import small_scene, write_small_run
from tiny_vlm import make_tiny
from typer.testing import CliRunner, Result

from s3d_ros import cli
from s3d_ros.offline.ask import AskError, read_situation


@pytest.fixture
def a_run(tmp_path: Path) -> Path:
    write_small_run(tmp_path / "run")
    return tmp_path / "run"


def ask(*arguments: object, given: str = "") -> Result:
    return CliRunner().invoke(cli.app, ["ask", *(str(a) for a in arguments)], input=given)


def rows(result: Result) -> list[dict[str, object]]:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def test_without_a_model_the_map_answers(a_run: Path):
    (row,) = rows(ask(a_run, "How many chairs are there?", "--json"))
    assert (row["answered_by"], row["value"]) == ("geometric", 2)
    refused = ask(a_run, "Is the table red?")
    assert refused.exit_code == 1 and "could not read 'red'" in refused.stdout


def test_auto_goes_to_the_server_for_what_the_map_can_not_settle(a_run: Path):
    with Scripted(says("Yes, ", "<OBJ001>.")) as server:
        (row,) = rows(ask(a_run, "Is the table red?", "--server", server.url, "--json"))
        assert (row["answered_by"], row["answer"], row["objects"]) == ("openai", "Yes, table 1.", [1])
        assert len(server.requests) == 1
        only = ask(a_run, "How many chairs are there?", "-a", "openai", "--server", server.url, "--json")
        assert rows(only)[0]["answered_by"] == "openai" and len(server.requests) == 2
        text = ask(a_run, "Is the table red?", "--server", server.url).stdout
        assert "measured: the map holds 1 table: #1" in text and "by openai" in text


def test_a_talk_reads_questions_line_by_line_and_remembers(a_run: Path, tmp_path: Path):
    with Scripted(says("<OBJ003>."), says("Blue.")) as server:
        told = ["--server", server.url, "--json", "--show", tmp_path / "seen"]
        found = rows(ask(a_run, *told, given="Which chair is broken?\n\nWhat colour is it?\n"))
        assert [r["answer"] for r in found] == ["chair 3.", "Blue."]
        assert [m["role"] for m in server.requests[1]["messages"]] == ["system", "user", "assistant", "user"]
        assert server.requests[1]["messages"][2]["content"] == "<OBJ003>."
    assert "Which chair is broken?" in (tmp_path / "seen" / "01" / "prompt.txt").read_text()
    assert "What colour is it?" in (tmp_path / "seen" / "03" / "prompt.txt").read_text()


def test_what_questions_share_is_sent_alike_and_first(a_run: Path):
    """A server that keeps what it has read compares from the beginning."""
    with Scripted(says("Yes.")) as server:
        for text in ("Is the table red?", "What is chair 2 made of?"):
            ask(a_run, text, "--server", server.url, "--set", "prompt.frames=1")
        first, second = ([m["messages"][0], *m["messages"][1]["content"]] for m in server.requests)
    assert len(first) == len(second) == 6  # system, 2 captions and pictures, the question
    assert first[:5] == second[:5] and first[5] != second[5]


def test_tools_by_a_setting(a_run: Path):
    with Scripted(says("CALL distance(<OBJ001>, <OBJ002>)"), says("Yes.")) as server:
        (row,) = rows(ask(a_run, "Is it cosy?", "--server", server.url, "--set", "tools=true", "--json"))
        assert row["answer"] == "Yes." and row["measured"] == [
            "distance(#1, #2) = 0.00 m"
        ]  # chair 2 is under the table


def test_situation_moves_the_asker(a_run: Path):
    """Chair 3 is at x = 0.75 to 1.25; its back at y = 1.75 is 1.75 m from (1, 3.5)."""
    (row,) = rows(ask(a_run, "How far is object 3 from me?", "--situation", "1 3.5 0.5 -90", "--json"))
    assert row["value"] == pytest.approx(1.75)
    assert "given pose" in str(row["viewpoint"])


def test_heading_is_counterclockwise_from_x_about_up():
    scene = small_scene()
    assert np.allclose(read_situation("1 2 3 90", scene).heading, (0, 1, 0))
    assert np.allclose(read_situation("1, 2, 3, 0", scene).heading, (1, 0, 0))
    for bad in ("1 2 3", "1 2 3 x", "1 2 3 nan", ""):
        with pytest.raises(AskError, match="X Y Z DEG"):
            read_situation(bad, scene)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--answerer", "oracle"], "oracle"),
        (["--answerer", "openai"], "server.url"),
        (["--answerer", "transformers"], "model"),
        (["--server", "http://10.0.0.1:8000/v1"], "plain http"),
        (["--set", "prompt.framse=3"], "prompt.frames"),
        (["--set", "max_new_tokens"], "KEY=VALUE"),
        (["--situation", "here"], "X Y Z DEG"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments: list[str], told: str, a_run: Path):
    result = ask(a_run, "Is the table red?", *arguments)
    assert result.exit_code == 2 and told in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_a_server_that_is_not_there(a_run: Path):
    url = f"http://127.0.0.1:{free_port()}/v1"
    result = ask(a_run, "Is the table red?", "--server", url, "--set", "server.retries=0", "--json")
    (row,) = rows(result)
    assert result.exit_code == 1 and row["error"] in ("MODEL_FAILED", "NOT_READY")
    assert "no connection to the server" in str(row["answer"]) and "could not read 'red'" in str(row["answer"])


def test_an_older_run_has_nothing_to_see(a_run: Path):
    (a_run / "bev.npz").unlink()
    with Scripted(says("Yes.")) as server:
        (row,) = rows(ask(a_run, "Is the table red?", "--server", server.url, "--json"))
    assert row["error"] == "NOT_READY" and "no bird's-eye view" in str(row["answer"])


def test_a_model_on_this_machine_is_loaded_and_waited_for(a_run: Path, tmp_path: Path):
    """A tiny Qwen2.5-VL with random weights, in its own process."""
    make_tiny("qwen2_5_vl", tmp_path / "model")
    told = ["--model", tmp_path / "model", "--set", "max_new_tokens=4", "--set", "prompt.bev_px=256", "--json"]
    result = ask(a_run, "Is the table red?", *told, "--show", tmp_path / "seen")
    (row,) = rows(result)
    assert row["answered_by"] == "transformers" and row["error"] in ("", "NOT_SETTLED"), row
    assert "the map holds 1 table: #1" in row["measured"]
    assert len(list((tmp_path / "seen").glob("*.png"))) == 2


def test_a_model_that_can_not_be_loaded_is_not_waited_for(a_run: Path, tmp_path: Path):
    (tmp_path / "model").mkdir()
    (row,) = rows(ask(a_run, "Is the table red?", "--model", tmp_path / "model", "--json"))
    assert row["error"] == "NOT_READY" and "could not be loaded" in str(row["answer"])
