"""A source of music -> a set of shards, interrupted and continued at will.

    DIR/shard-<hash>.safetensors, .json    samples; the name is a function of what is in it
    DIR/index.json                         all shards together: written last, always true
    DIR/rejected.jsonl                     what was not taken, and why
    DIR/tracks.jsonl                       what is known of every recording that was
    DIR/prepare.json                       which extractors made the set
    DIR/report.json, report.html           the same for people
    DIR/.work                              results of a run that is not through: a folder a track, a file a stage

Shards, index and rejections are functions of the music and the options alone: not of the number of workers, of how often the run was
killed, nor of whether a stage came with the others or later. Times are kept in tracks.jsonl and the report.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from jasco_pl.data.shards import INDEX, write_index, write_shard
from jasco_pl.extract.latents import fingerprint
from jasco_pl.metrics.beats import tempo
from jasco_pl.notation.beats import beat_times
from jasco_pl.prepare.captions import measured_captions
from jasco_pl.prepare.config import HEARD, PrepareConfig
from jasco_pl.prepare.jobs import FACTS, Job, Stages, run_here, run_processes, run_ray
from jasco_pl.prepare.jobs import REJECTED as REFUSAL
from jasco_pl.prepare.plan import (
    Held,
    Known,
    Made,
    Planned,
    Refused,
    cut,
    describe,
    find_held,
    group,
    read_json,
    read_known,
    read_lines,
    read_tracks,
    scan,
    track_of,
    write_lines,
)
from jasco_pl.prepare.report import write_report
from jasco_pl.prepare.rules import Rejected
from jasco_pl.prepare.source import find_tracks
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import is_bare, remove_leftovers, write_json
from jasco_pl.system.locks import alone

WORK, SETTINGS, TRACKS, REJECTED, RULES = ".work", "prepare.json", "tracks.jsonl", "rejected.jsonl", "rules.json"
PERHAPS_OURS = ("crashed", "failed")  # memory or a device may have been the cause: a run after a finished one tries again
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} min of music [{elapsed}<{remaining}] {postfix}"


@dataclass(frozen=True)
class Group:
    """What becomes one shard."""

    jobs: list[Job]
    """Tracks, with the stages that they lack."""
    base: Held | None = None
    """The shard that has the others already."""


class Preparation:
    """One run of `jasco prepare`.

    Args:
        source: a folder of audio, or a list of files (`source.find_tracks`).
        out: folder of the set; one that is there already grows.
        config: options.
        audio_dir: what a list's paths are relative to.

    Raises:
        UserError: the set was made with another codec, extractor or segment length, or otherwise; or an extractor is not to be had.
    """

    def __init__(self, source: str | Path, out: str | Path, config: PrepareConfig, audio_dir: str | Path | None = None) -> None:
        self.source, self.out, self.config, self.audio_dir = source, Path(out), config, audio_dir
        self.work = self.out / WORK
        if (self.out / INDEX).exists() and not (self.out / SETTINGS).exists():
            raise UserError(
                f"{str(out)!r} holds a set that `jasco prepare` did not make, and cannot add to: "
                "name another folder, then `jasco shards merge`."
            )
        fresh = {"stages": {}, "segment_seconds": config.segment_seconds, "rules": asdict(config.rules)}
        # of the set, or of an interrupted run's shards among its own
        self.settings = read_json(self.work / SETTINGS, read_json(self.out / SETTINGS, fresh, Made), Made)
        had = self.settings["stages"]
        stages = Stages(config)
        wanted = {*config.chosen, *had}  # what is added to a set gets all that the set has
        self.stages = {stage: stages[stage].fingerprint() for stage in HEARD if stage in wanted}
        if changed := [stage for stage, mark in had.items() if self.stages.get(stage) != mark]:
            raise UserError(
                f"the set in {str(out)!r} was prepared with another extractor for {changed[0]!r} than is named now: "
                "name the same one, or another folder."
            )
        if self.settings["segment_seconds"] != config.segment_seconds:
            raise UserError(
                f"the set in {str(out)!r} has segments of {self.settings['segment_seconds']:g} s, not of {config.segment_seconds:g} s: "
                "name the same length, or another folder."
            )
        codec = stages.codec
        self.codec_mark = fingerprint(codec)
        self.segment = round(config.segment_seconds * codec.frame_rate)
        statistics = {"mean": codec.latent_mean.tolist(), "std": codec.latent_std.tolist()}
        self.codec: dict[str, Any] = {"name": config.codec, "frame_rate": codec.frame_rate, "dim": codec.dim, **statistics}

    def run(self) -> dict[str, Any]:
        """Do what is missing.

        Returns:
            The report, as in report.json.

        Raises:
            UserError: the source names nothing or nothing that can be taken, another run works on the set, or it cannot be written.
        """
        with alone(self.work, f"another `jasco prepare` is working on {str(self.out)!r}: wait for it, or name another folder."):
            self._forget_old_rules()
            tracks, refused = find_tracks(self.source, self.config.captions, self.audio_dir)
            records = {record["id"]: record for record in read_lines(self.out / TRACKS, Known)}
            for path in sorted(self.work.glob("tracks-*.json")):  # of shards that a killed run had finished
                records |= {record["id"]: record for record in read_known(path)}
            if elsewhere := [name for name in records if not is_bare(name)]:  # folders of work are named by them
                raise UserError(f"{str(self.out / TRACKS)!r} is damaged: {elsewhere[0]!r} is no id of a recording.")
            planned, doubles = scan(tracks, self.work, {record["hash"]: record["id"] for record in records.values()})
            by_id = {one.id: one for one in planned}
            rejections = self._former_rejections({one.name for one in tracks} | {one.name for one in refused}, set(by_id))
            rejections += [asdict(one) for one in [*refused, *doubles]]

            held = find_held(self.out)
            have = {track for shard in held for track in shard.tracks} | {one["id"] for one in rejections if "id" in one}
            groups = [
                Group([self._job(by_id[name], list(self.stages)) for name in ids])
                for ids in group([one for one in planned if one.id not in have], self.config.shard_minutes, self.work)
            ]
            for shard in held:
                jobs = self._lacking(shard, by_id)
                if jobs or any(self._heard(records.get(track_of(entry["id"])), {}) for entry in shard.entries if not entry["captions"]):
                    groups.append(Group(jobs, shard))
            names = {shard.name for shard in held}
            for one, name in self._carry_out(groups, by_id, records):
                names -= {one.base.name} if one.base else set()
                names |= {name} if name else set()
                rejections += [{"id": job.id, **asdict(why)} for job in one.jobs if (why := job.rejected())]
            return self._finish(sorted(names), records, rejections)

    def _job(self, one: Planned, stages: Sequence[str]) -> Job:
        track, marks = one.track, {stage: self.stages[stage] for stage in stages}
        return Job(one.id, track.path, track.name, track.start, track.stop, one.seconds, marks, str(self.work / one.id))

    def _lacking(self, shard: Held, by_id: Mapping[str, Planned]) -> list[Job]:
        """What is left to do for the tracks of a shard; for those that the source no longer has nothing can be done."""
        jobs = []
        for track, fields in shard.tracks.items():
            missing = [stage for stage in self.stages if not HEARD[stage].names() <= fields]
            if missing and track in by_id:
                jobs.append(self._job(by_id[track], missing))
        return jobs

    def _carry_out(
        self, groups: Sequence[Group], by_id: Mapping[str, Planned], records: dict[str, dict[str, Any]]
    ) -> Iterator[tuple[Group, str | None]]:
        """Let the jobs be done; yields every group as soon as it is through, with the name of its shard."""
        todo = [[job for job in one.jobs if not job.done] for one in groups]
        belongs = {job.id: number for number, jobs in enumerate(todo) for job in jobs}
        left = [len(jobs) for jobs in todo]
        jobs = [job for part in todo for job in part]
        refused = sum(job.rejected() is not None for one in groups for job in one.jobs)
        for number, one in enumerate(groups):
            if not left[number]:
                yield one, self._assemble(one, by_id, records)
        if not jobs:
            return
        with (
            tqdm(total=sum(job.seconds for job in jobs) / 60, desc="prepare", bar_format=BAR) as bar,
            contextlib.closing(self._workers(jobs)) as finished,  # whatever happens here ends those who work for it
        ):
            for job in finished:
                refused += job.rejected() is not None
                bar.set_postfix_str(f"{refused} refused" if refused else "", refresh=False)
                bar.update(min(job.seconds / 60, bar.total - bar.n))
                number = belongs[job.id]
                left[number] -= 1
                if not left[number]:
                    yield groups[number], self._assemble(groups[number], by_id, records)

    def _workers(self, jobs: Sequence[Job]) -> Generator[Job, None, None]:
        if self.config.ray:
            return run_ray(jobs, self.config)
        return run_processes(jobs, self.config) if self.config.processes else run_here(jobs, self.config)

    def _assemble(self, one: Group, by_id: Mapping[str, Planned], records: dict[str, dict[str, Any]]) -> str | None:
        """Write a group's shard, and drop the pieces that it was made of; None where every track was refused."""
        base = read_tracks(self.out, one.base) if one.base else {}
        taken = {job.id: job for job in one.jobs if job.rejected() is None}
        whole = {name: (dict(fields), captions) for name, (fields, captions) in base.items()}
        for name, job in taken.items():
            fields, captions = whole.get(name, ({}, by_id[name].track.captions))
            whole[name] = (fields | job.tensors(), captions)
        if not whole:
            return None
        known = {name: taken[name].record() if name in taken else records.get(name) for name in whole}
        whole = {name: (fields, captions or self._heard(known[name], fields)) for name, (fields, captions) in whole.items()}
        samples = [sample for name in sorted(whole) for sample in cut(name, *whole[name], self.segment)]
        content = [[sample.id, sorted(sample.tensors), sample.captions] for sample in samples]
        digest = hashlib.blake2b(json.dumps([self.codec_mark, content]).encode(), digest_size=6).hexdigest()
        shard = f"shard-{digest}"
        for name, job in taken.items():
            fields, captions = whole[name]
            records[name] = describe(job, by_id[name], records.get(name, {}), fields, captions, self.codec["frame_rate"])
        for name in whole.keys() & records.keys():
            records[name] = {**records[name], "captions": list(whole[name][1])}
        write_json(self.work / SETTINGS, self._described(self.settings["rules"]))
        write_json(self.work / f"tracks-{shard}.json", [records[name] for name in sorted(whole.keys() & records.keys())])
        write_shard(self.out, shard, samples, self.codec_mark)
        for job in taken.values():
            job.clear()
        return shard

    def _heard(self, record: Mapping[str, Any] | None, fields: Mapping[str, Tensor]) -> list[str]:
        """Captions of a track about which nothing is said, if they are wanted; the tempo from its beats, where those are known."""
        if record is None or not self.config.captions.measured:
            return []
        bpm = tempo(beat_times(fields["beats"][:, 0].numpy(), self.codec["frame_rate"])) if "beats" in fields else math.nan
        return measured_captions(record.get("tempo") if math.isnan(bpm) else bpm, record.get("key"))

    def _finish(self, names: Sequence[str], records: Mapping[str, dict[str, Any]], rejections: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Write what describes the set, and remove what it no longer needs."""
        kept = [records[name] for name in sorted({track for shard in find_held(self.out) for track in shard.tracks} & set(records))]
        refused = sorted({(one["name"], one["reason"]): one for one in rejections}.values(), key=lambda one: (one["name"], one["reason"]))
        write_lines(self.out / REJECTED, refused)
        write_lines(self.out / TRACKS, kept)
        settings = self._described(asdict(self.config.rules))
        write_json(self.out / SETTINGS, settings)
        if names:
            write_index(self.out, self.codec, names)
        for path in self.out.glob("shard-*"):
            if path.stem not in names:  # its tracks stand in another one, with more fields
                path.unlink()
        remove_leftovers(self.out)
        lost = [Rejected(one["name"], one["reason"], one["detail"], one.get("seconds")) for one in refused]
        report = write_report(self.out, kept, lost, settings)
        shutil.rmtree(self.work)
        if not names:
            raise UserError(
                f"none of the {len(refused)} files of {str(self.source)!r} can be taken; {str(self.out / REJECTED)!r} says why, one by one."
            )
        return report

    def _described(self, rules: Mapping[str, Any]) -> dict[str, Any]:
        """What prepare.json says."""
        marks = {**self.settings["stages"], **self.stages}
        return {"stages": marks, "segment_seconds": self.config.segment_seconds, "rules": dict(rules)}

    def _forget_old_rules(self) -> None:
        """What was taken or refused by other rules in an interrupted run is looked at again."""
        rules = asdict(self.config.rules)
        if (former := read_json(self.work / RULES, None)) != rules:
            for path in [*self.work.glob(f"*/{FACTS}"), *self.work.glob(f"*/{REFUSAL}")] if former else []:
                path.unlink()
            write_json(self.work / RULES, rules)

    def _former_rejections(self, names: set[str], ids: set[str]) -> list[dict[str, Any]]:
        """Of what former runs refused: recordings that are not to be looked at again, and what this source says nothing about."""
        same = self.settings["rules"] == asdict(self.config.rules)

        def stands(one: Mapping[str, Any]) -> bool:
            if "id" not in one:
                return one["name"] not in names
            return one["id"] not in ids or (same and one["reason"] not in PERHAPS_OURS)

        return [one for one in read_lines(self.out / REJECTED, Refused) if stands(one)]
