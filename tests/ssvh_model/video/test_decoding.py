from __future__ import annotations

import socket
from pathlib import Path

import av
import numpy as np
import pytest

from ssvh_model.video import decoding
from ssvh_model.video.decoding import UnreadableVideo, even_indices, frame_at, probe, sample_frames
from tests.ssvh_model.video.odd_videos import MakeVideo, read_levels, turn


def naive_frames(path: Path) -> np.ndarray:
    """Every frame of a video in the order of presentation, the plain way."""
    with av.open(str(path), metadata_errors="ignore") as container:
        frames = list(container.decode(video=0))
        if container.format.name != "avi":
            frames.sort(key=lambda frame: frame.pts)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def test_frames_are_the_centres_of_equal_intervals() -> None:
    assert even_indices(25, 25).tolist() == list(range(25))
    assert even_indices(100, 4).tolist() == [12, 37, 62, 87]
    assert even_indices(3, 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert even_indices(1, 4).tolist() == [0, 0, 0, 0]
    for total in range(1, 60):
        for count in range(1, 30):
            naive = [int((i + 0.5) * total / count + 1e-9) for i in range(count)]
            assert even_indices(total, count).tolist() == naive


@pytest.mark.parametrize("name", ["R6llTwEh07w.mp4", "decord_flipping_a_pancake.mkv", "mmaction2_test.avi"])
def test_sampled_frames_equal_those_of_a_plain_decoder(shared: Path, name: str) -> None:
    path = shared / "data" / "decoder_fixtures" / name
    everything = naive_frames(path)
    sampled = sample_frames(path, 7)
    assert sampled.total == len(everything)
    assert sampled.indices.tolist() == even_indices(len(everything), 7).tolist()
    np.testing.assert_array_equal(sampled.frames, everything[sampled.indices])


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4", "late.ts"])
def test_a_video_that_begins_late_is_as_long_as_it_is_shown(make_video: MakeVideo, name: str) -> None:
    late = make_video(name, frames=20, codec="mpeg4", times=[number + 2500 for number in range(20)])
    assert probe(late).duration == pytest.approx(0.8, abs=0.05)


def test_every_odd_fixture_is_read_or_refused_with_a_reason(shared: Path) -> None:
    for path in sorted((shared / "data" / "decoder_fixtures").iterdir()):
        if path.suffix in (".avi", ".mkv", ".mov", ".mp4"):
            sampled = sample_frames(path, 5, longer_side=64)
            assert sampled.frames.shape[0] == 5 and max(sampled.frames.shape[1:3]) <= 64
            assert sampled.frames.std() > 5 or path.name == "decord_unordered.mov"  # that one is all white
            assert abs(probe(path).frames - sampled.total) <= 2
        else:
            for look in (probe, lambda path: sample_frames(path, 5)):
                with pytest.raises(UnreadableVideo, match="not a video"):
                    look(path)


def test_a_partly_corrupt_video_gives_the_frames_that_decode(shared: Path) -> None:
    sampled = sample_frames(shared / "data" / "decoder_fixtures" / "decord_corrupted.mp4", 10)
    assert sampled.total == 48
    assert "2 of 50 frames don't decode" in sampled.remark


def test_the_rotated_fixture_is_upright(shared: Path) -> None:
    fixtures = shared / "data" / "decoder_fixtures"
    assert (
        probe(fixtures / "decord_video_90.mov").width,
        probe(fixtures / "decord_video_90.mov").height,
    ) == (320, 568)
    assert sample_frames(fixtures / "decord_video_90.mov", 2).frames.shape == (2, 568, 320, 3)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation_of_the_container_is_applied(tmp_path: Path, turns: int) -> None:
    from fractions import Fraction

    from ssvh_model.video.encoding import write_video

    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    picture[:24, :32] = 250  # the stored frame is bright at its top left
    path = tmp_path / "turned.mp4"
    write_video(path, np.repeat(picture[None], 4, axis=0), rate=Fraction(25), quality=10)
    turn(path, turns)
    shown = sample_frames(path, 2).frames[0].mean(axis=2)
    np.testing.assert_allclose(shown, np.rot90(picture.mean(axis=2), -turns), atol=20)
    seen = probe(path)
    assert (seen.height, seen.width) == shown.shape


def test_too_few_frames_are_repeated_evenly(make_video: MakeVideo) -> None:
    sampled = sample_frames(make_video(frames=3), 7)
    assert sampled.indices.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert read_levels(sampled.frames) == sampled.indices.tolist()
    assert sampled.total == 3 and "fewer than 7" in sampled.remark


def test_unordered_time_stamps_are_shown_in_their_order(make_video: MakeVideo) -> None:
    shuffled = [int(place) for place in np.random.default_rng(1).permutation(20)]
    path = make_video("shuffled.mkv", codec="mjpeg", times=shuffled)
    sampled = sample_frames(path, 20)
    assert read_levels(sampled.frames) == np.argsort(shuffled).tolist()
    assert sampled.indices.tolist() == list(range(20))


def test_frames_that_hold_each_other_up_come_in_order(make_video: MakeVideo) -> None:
    path = make_video(frames=20, options={"bf": "4", "g": "20", "b_strategy": "0"})
    assert read_levels(sample_frames(path, 20).frames) == list(range(20))


def test_frames_of_an_avi_come_in_the_decoders_order(make_video: MakeVideo) -> None:
    path = make_video("video.avi", codec="mpeg4", options={"bf": "2", "g": "10", "qmin": "1", "qmax": "2"})
    sampled = sample_frames(path, 20)
    assert sampled.total == 20 and read_levels(sampled.frames) == list(range(20))


@pytest.mark.parametrize("name", ["long.mp4", "long.mkv", "long.ts"])
@pytest.mark.parametrize(
    "options", [{"g": "8", "bf": "2"}, {"g": "8", "bf": "3", "x264-params": "open-gop=1"}]
)
def test_seeking_gives_the_same_frames_as_decoding_everything(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, str]
) -> None:
    path = make_video(name, frames=400, options={"sc_threshold": "0", **options})
    everything = naive_frames(path)
    whole = []
    monkeypatch.setattr(decoding, "_sample_whole", lambda *arguments: whole.append(arguments))
    sampled = sample_frames(path, 9)
    assert not whole, "it was meant to seek"
    assert sampled.indices.tolist() == even_indices(400, 9).tolist()
    np.testing.assert_array_equal(sampled.frames, everything[sampled.indices])


def test_a_truncated_video_gives_what_is_there(make_video: MakeVideo) -> None:
    path = make_video(
        frames=100, options={"g": "10", "crf": "1"}, container_options={"movflags": "+faststart"}
    )
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) * 6 // 10])
    sampled = sample_frames(path, 10)
    assert 40 < sampled.total < 80
    assert "truncated" in sampled.remark and "of 100 frames" in sampled.remark
    assert read_levels(sampled.frames) == [index % 20 for index in sampled.indices]
    assert "truncated" in probe(path).remark


def test_a_video_without_its_index_is_refused(make_video: MakeVideo) -> None:
    path = make_video(frames=50)  # the index of this file stands at its end
    path.write_bytes(path.read_bytes()[:-500])
    for look in (probe, lambda path: sample_frames(path, 5)):
        with pytest.raises(UnreadableVideo, match="truncated or damaged"):
            look(path)


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_never_ends_in_another_exception(make_video: MakeVideo, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = make_video(["a.mp4", "a.mkv", "a.avi", "a.ts"][seed % 4], frames=40, options={"g": "10"})
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8).copy()
    places = rng.integers(0, len(data), size=len(data) // 40)
    data[places] = rng.integers(0, 256, size=len(places))
    path.write_bytes(data[: int(len(data) * rng.uniform(0.3, 1))].tobytes())
    try:
        sampled = sample_frames(path, 6)
    except UnreadableVideo as error:
        assert error.reason and "\n" not in error.reason
    else:
        assert sampled.frames.shape[0] == 6


def test_files_that_are_no_videos_say_so(tmp_path: Path) -> None:
    empty, text, folder, sound = (
        tmp_path / name for name in ("empty.mp4", "text.mp4", "folder.mp4", "sound.mp4")
    )
    empty.touch()
    text.write_text("This is not a video.\n" * 100)
    folder.mkdir()
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 4096), dtype=np.float32), format="flt", layout="mono"
        )
        silence.sample_rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    expected = {
        tmp_path / "missing.mp4": "missing",
        empty: "empty",
        text: "not a video",
        folder: "not a regular file",
        sound: "no video stream",
    }
    for path, reason in expected.items():
        for look in (probe, lambda path: sample_frames(path, 4)):
            with pytest.raises(UnreadableVideo, match=reason):
                look(path)


def test_a_playlist_can_not_reach_other_files_or_the_network(tmp_path: Path, make_video: MakeVideo) -> None:
    secret = make_video("secret.ts")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        for target in (str(secret), f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"):
            for name in ("list.m3u8", "list.mp4"):
                playlist = tmp_path / name
                playlist.write_text(
                    f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"
                )
                with pytest.raises(UnreadableVideo, match="not a video"):
                    sample_frames(playlist, 2)
        with pytest.raises(TimeoutError):
            server.accept()


def test_very_large_videos_are_sampled_at_key_frames_or_refused(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_keys = make_video("keys.mp4", frames=200, options={"g": "16", "sc_threshold": "0", "bf": "0"})
    one_key = make_video("one.mp4", frames=200, options={"g": "1000", "sc_threshold": "0"})
    monkeypatch.setattr(decoding, "DECODE_BUDGET", 20 * 64 * 48)
    sampled = sample_frames(many_keys, 6)
    assert "key frames only" in sampled.remark
    assert sampled.indices.tolist() == [16 * (index // 16) for index in even_indices(200, 6)]
    assert read_levels(sampled.frames) == [index % 20 for index in sampled.indices]
    with pytest.raises(UnreadableVideo, match="too large to decode"):
        sample_frames(one_key, 6)


def test_frames_are_scaled_down_and_never_up(make_video: MakeVideo) -> None:
    path = make_video(frames=4, width=128, height=64)
    assert sample_frames(path, 2, longer_side=32).frames.shape == (2, 16, 32, 3)
    assert sample_frames(path, 2, longer_side=500).frames.shape == (2, 64, 128, 3)


def test_memory_holds_only_scaled_frames(make_video: MakeVideo) -> None:
    import tracemalloc

    path = make_video(frames=60, width=640, height=480)
    tracemalloc.start()  # numpy tells it of its arrays
    sample_frames(path, 40, longer_side=32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 640 * 480 * 3


@pytest.mark.parametrize("turns", [0, 1])
def test_the_decoders_squares_are_the_whole_frame_upright(tmp_path: Path, turns: int) -> None:
    from fractions import Fraction

    import torch

    from ssvh_model.video.backbones import scale_frames
    from ssvh_model.video.encoding import write_video

    down, right = np.mgrid[0:120, 0:200]
    picture = np.stack([down * 2, right, (down + right) % 64 + 90], axis=2).astype(np.uint8)
    path = tmp_path / "ramp.mp4"
    write_video(path, np.repeat(picture[None], 4, axis=0), rate=Fraction(25), quality=1)
    turn(path, turns)
    plain = sample_frames(path, 3)
    assert plain.squares is None
    sampled = sample_frames(path, 3, square=48)
    np.testing.assert_array_equal(sampled.frames, plain.frames)
    assert sampled.squares is not None and sampled.squares.dtype == np.float32
    expected = scale_frames(torch.from_numpy(plain.frames), 48).numpy()
    assert sampled.squares.shape == expected.shape == (3, 48, 48, 3)
    # Colours of 4:2:0 video are interpolated in one way here and in another there.
    assert np.abs(sampled.squares - expected).mean() < 2
    assert abs((sampled.squares - expected).mean()) < 1
    assert np.array_equal(sample_frames(path, 3, longer_side=0, square=48).squares, sampled.squares)
    assert sample_frames(path, 3, longer_side=0, square=48).frames.shape == (3, 0, 0, 3)


def test_squares_of_odd_videos_are_there_too(shared: Path) -> None:
    for path in sorted((shared / "data" / "decoder_fixtures").iterdir()):
        if path.suffix in (".avi", ".mkv", ".mov", ".mp4"):
            squares = sample_frames(path, 5, longer_side=0, square=32).squares
            assert squares is not None and squares.shape == (5, 32, 32, 3)
            assert squares.min() >= 0 and squares.max() <= 255 and np.isfinite(squares).all()


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.99, 3.1, 100.0])
def test_the_frame_that_is_shown_at_a_moment(make_video: MakeVideo, seconds: float) -> None:
    path = make_video(frames=90, options={"g": "12"})
    expected = min(89, int(seconds * 25 + 1e-6)) % 20
    assert read_levels(frame_at(path, seconds)[None]) == [expected]
    assert frame_at(path, seconds, longer_side=16).shape == (12, 16, 3)
