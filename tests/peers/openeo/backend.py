"""An openEO back-end for tests: openeo-driver's front end and evaluator, with a small executor on local rasters.

Runs in its own environment (`make .software/openeo`): `python backend.py`, set up as `configuration.py` says.

Deviations from a real back-end: jobs are threads and gone when it ends; a cube is one scene without time; beside the
standard processes there are `say`, `wait`, `gate`, `slow`, `fail` and `chat`, so that tests can have jobs of each kind.
"""
# mypy: ignore-errors

from __future__ import annotations

import collections
import copy
import json
import logging
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from pathlib import Path

import numpy
import openeo_driver.views
import rasterio
from configuration import SETTINGS, config
from flask import request, send_from_directory
from openeo.metadata import CollectionMetadata
from openeo_driver.backend import (
    BatchJobMetadata,
    BatchJobs,
    CollectionCatalog,
    JobListing,
    OpenEoBackendImplementation,
    UserDefinedProcesses,
    UserDefinedProcessesListing,
    UserDefinedProcessMetadata,
)
from openeo_driver.datacube import DriverDataCube
from openeo_driver.errors import (
    JobNotFinishedException,
    JobNotFoundException,
    OpenEOApiException,
    ProcessGraphNotFoundException,
)
from openeo_driver.processes import ProcessSpec
from openeo_driver.ProcessGraphDeserializer import ENV_DRY_RUN_TRACER, ConcreteProcessing, non_standard_process
from openeo_driver.save_result import SaveResult, to_save_result
from openeo_driver.util.date_math import now_utc
from openeo_driver.utils import EvalEnv
from openeo_driver.views import build_app
from rasterio.warp import transform_bounds
from rasterio.windows import Window

GTIFF = "image/tiff; application=geotiff"
OPENED = threading.Event()  # all jobs that are at the gate go on


class Cube(DriverDataCube):
    """Bands (name -> values) on one grid."""

    def __init__(self, metadata, bands, profile):
        super().__init__(metadata=metadata)
        self.bands, self.profile = bands, profile

    def _one(self, values):
        name = self.metadata.band_dimension.name
        return Cube(self.metadata.reduce_dimension(dimension_name=name), {"value": values}, self.profile)

    def filter_bands(self, bands):
        kept = {self.metadata.band_dimension.band_name(one): None for one in bands}
        return Cube(self.metadata.filter_bands(bands), {name: self.bands[name] for name in kept}, self.profile)

    def ndvi(self, nir="nir", red="red", target_band=None):
        a, b = self.bands[nir], self.bands[red]
        return self._one((a - b) / (a + b))

    def reduce_dimension(self, reducer, *, dimension, context=None, env=None):
        return self._one(_reduced(reducer, list(self.bands.values())))

    def save_result(self, filename, format, format_options=None):
        [values] = self.bands.values()
        with rasterio.open(filename, "w", **self.profile, count=1, dtype="float32", driver="GTiff") as out:
            out.write(values.astype("float32"), 1)
        return filename

    def write_assets(self, filename, format, format_options=None):
        path = Path(filename).parent / "openEO.tif"
        self.save_result(str(path), format)
        with rasterio.open(path) as source:
            west, south, east, north = transform_bounds(source.crs, "EPSG:4326", *source.bounds)
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        return {
            path.name: {
                "href": str(path),
                "type": GTIFF,
                "roles": ["data"],
                "bbox": [west, south, east, north],
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "datetime": "2020-01-01T00:00:00Z",
            }
        }


def _reduced(graph, bands):
    """The value of a reducer's graph, of the few processes that tests use."""
    processes = {
        "array_element": lambda data, index, **_: bands[index],
        "add": lambda x, y: x + y,
        "subtract": lambda x, y: x - y,
        "divide": lambda x, y: x / y,
        "mean": lambda data, **_: numpy.mean(bands, axis=0),
    }

    def value(argument):
        if not isinstance(argument, dict):
            return argument
        if "from_parameter" in argument:
            return bands
        return node(argument["node"] if "node" in argument else graph[argument["from_node"]])

    def node(one):
        return processes[one["process_id"]](**{name: value(given) for name, given in one["arguments"].items()})

    return node(next(one for one in graph.values() if one.get("result")))


class Catalog(CollectionCatalog):
    def __init__(self):
        self.files = {path.stem: path for path in sorted(Path(SETTINGS["scene"]).glob("*.tif"))}
        names = list(self.files)
        super().__init__(
            [
                {
                    "id": "SCENE",
                    "description": "One scene.",
                    "license": "other",
                    "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
                    "cube:dimensions": {
                        "x": {"type": "spatial", "axis": "x", "reference_system": 4326},
                        "y": {"type": "spatial", "axis": "y", "reference_system": 4326},
                        "bands": {"type": "bands", "values": names},
                    },
                    "summaries": {"eo:bands": [{"name": name, "common_name": name} for name in names]},
                    "links": [],
                }
            ]
        )

    def load_collection(self, collection_id, load_params, env):
        metadata = CollectionMetadata(self.get_collection_metadata(collection_id))
        names = load_params.get("bands") or list(self.files)
        window = None
        bands = {}
        for name in names:
            with rasterio.open(self.files[name]) as source:
                window = window or _window(source, load_params.get("spatial_extent"))
                bands[name] = source.read(1, window=window).astype("float32")
                grid = {"crs": source.crs, "transform": source.window_transform(window)}
        height, width = next(iter(bands.values())).shape
        profile = {**grid, "width": width, "height": height}
        return Cube(metadata.filter_bands(names), bands, profile)


class Files:
    """The workspaces of accounts: a directory each. openeo-driver lists the endpoints, and leaves them to others."""

    def __init__(self):
        self.root = Path(SETTINGS["work"]) / "workspaces"

    def of(self, user_id):
        found = self.root / user_id
        found.mkdir(parents=True, exist_ok=True)
        return found

    def register(self, blueprint, backend_implementation, api_endpoint, auth_handler):
        def told(path):
            at = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return {"path": path.name, "size": path.stat().st_size, "modified": at}

        @api_endpoint
        @blueprint.route("/files", methods=["GET"])
        @auth_handler.requires_bearer_auth
        def listed(user):
            return {"files": [told(path) for path in sorted(self.of(user.user_id).iterdir())], "links": []}

        @api_endpoint
        @blueprint.route("/files/<path>", methods=["PUT"])
        @auth_handler.requires_bearer_auth
        def sent(path, user):
            target = self.of(user.user_id) / path
            target.write_bytes(request.get_data())
            return told(target)

        @api_endpoint
        @blueprint.route("/files/<path>", methods=["DELETE"])
        @auth_handler.requires_bearer_auth
        def deleted(path, user):
            target = self.of(user.user_id) / path
            if not target.exists():
                raise OpenEOApiException("No such file.", code="FileNotFound", status_code=404)
            target.unlink()
            return "", 204


def _window(source, extent):
    if not extent:
        return Window(0, 0, source.width, source.height)
    box = [extent[key] for key in ("west", "south", "east", "north")]
    west, south, east, north = transform_bounds(f"EPSG:{extent.get('crs') or 4326}".replace("EPSG:EPSG:", "EPSG:"),
                                                source.crs, *box, densify_pts=21)  # fmt: skip
    left, top = ~source.transform * (west, north)
    right, bottom = ~source.transform * (east, south)
    left, top = max(floor(left), 0), max(floor(top), 0)
    return Window(left, top, min(ceil(right), source.width) - left, min(ceil(bottom), source.height) - top)


class Text(SaveResult):
    """A result that is a text file, whatever the format."""

    def __init__(self, text):
        super().__init__(format="TXT")
        self.text = text

    def write_assets(self, directory):
        path = Path(directory).parent / "said.txt"
        path.write_text(self.text)
        asset = {"href": str(path), "type": "text/plain", "roles": ["data"]}
        return {path.name: asset}

    def create_flask_response(self):
        path = Path(SETTINGS["work"]) / "sync.txt"
        path.write_text(self.text)
        return send_from_directory(path.parent, path.name, mimetype="text/plain")


def _special(name, kind):
    """A process of one argument `value`, that is run when it is not only looked at."""

    def register(act):
        spec = ProcessSpec(name, description=name).param("value", description="", schema={"type": kind})

        def run(args, env):
            value = args.get_required("value")
            return Text("") if env.get(ENV_DRY_RUN_TRACER) else act(value, env.get("job")) or Text("")

        run.__name__ = name
        non_standard_process(spec.returns("a text", schema={"type": "string"}))(run)
        return act

    return register


@_special("say", "string")
def say(text, job):
    return Text(f"{text}\n")


@_special("wait", "number")
def wait(seconds, job):
    job.cancelled.wait(seconds)


@_special("slow", "number")
def slow(seconds, job):
    time.sleep(seconds)


@_special("gate", "string")
def gate(text, job):
    OPENED.wait()
    return Text(f"{text}\n")


@_special("fail", "string")
def fail(text, job):
    raise OpenEOApiException(text)


@_special("chat", "integer")
def chat(lines, job):
    job.logs += [{"id": f"l{n:08}", "level": "info", "message": str(n)} for n in range(1, lines + 1)]


class Folder(SaveResult):
    """A result that is a directory of STAC: its items' assets."""

    def __init__(self, folder):
        super().__init__(format="STAC")
        self.folder = folder

    def write_assets(self, directory):
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.suffix != ".json":
                target = Path(directory).parent / path.name
                shutil.copyfile(path, target)
                found[path.name] = {"href": str(target), "type": GTIFF, "roles": ["data"]}
        return found


_SPEC = ProcessSpec("run_cwl_to_stac", description="Runs CWL.").param("cwl", description="", schema={"type": "string"})


@non_standard_process(_SPEC.param("context", description="", schema={}).returns("STAC", schema={"subtype": "stac"}))
def run_cwl_to_stac(args, env):
    if env.get(ENV_DRY_RUN_TRACER):
        return Text("")
    folder = Path(tempfile.mkdtemp(dir=SETTINGS["work"]))
    (folder / "package.cwl").write_text(args.get_required("cwl"))
    (folder / "inputs.json").write_text(json.dumps(args.get_required("context")))
    command = [*SETTINGS["cwltool"], "--quiet", "--outdir", "out", "package.cwl", "inputs.json"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if ran.returncode:
        raise OpenEOApiException(ran.stderr[-500:])
    return Folder(folder / "out")


class Job:
    def __init__(self, metadata, user):
        self.metadata, self.user = metadata, user
        self.cancelled = threading.Event()
        self.logs = []
        self.assets = {}
        self.starts = 0

    def set(self, **changes):
        self.metadata = self.metadata._replace(updated=now_utc(), **changes)


class Jobs(BatchJobs):
    def __init__(self, implementation):
        super().__init__()
        self.implementation = implementation
        self.jobs = {}
        self.gone = []  # what was known of those that were deleted
        self.lock = threading.RLock()
        self.pool = ThreadPoolExecutor(SETTINGS["workers"])

    def _job(self, job_id, user_id):
        job = self.jobs.get(job_id)
        if job is None or job.user.user_id != user_id:
            raise JobNotFoundException(job_id)
        return job

    def create_job(self, *, user, process, api_version, metadata, job_options=None):
        job_id = f"j-{len(self.jobs):06}-{time.monotonic_ns()}"
        made = BatchJobMetadata(
            id=job_id, status="created", process=process, created=now_utc(), job_options=job_options,
            title=metadata.get("title"), description=metadata.get("description"), plan=metadata.get("plan"),
            budget=metadata.get("budget"),
        )  # fmt: skip
        self.jobs[job_id] = Job(made, user)
        return made

    def get_job_info(self, job_id, user_id):
        return self._job(job_id, user_id).metadata

    def get_user_jobs(self, user_id, limit=None, request_parameters=None):
        mine = [job.metadata for job in list(self.jobs.values()) if job.user.user_id == user_id]
        begin = int((request_parameters or {}).get("begin", 0))
        more = {"limit": limit, "begin": begin + limit} if limit and len(mine) > begin + limit else None
        return JobListing(mine[begin : begin + limit] if limit else mine, more)

    def start_job(self, job_id, user):
        job = self._job(job_id, user.user_id)
        with self.lock:
            if job.metadata.status in ("queued", "running"):
                return
            job.starts += 1
            job.cancelled.clear()
            job.set(status="queued")
        self.pool.submit(self._run, job)

    def _run(self, job):
        with self.lock:
            if job.metadata.status != "queued":
                return
            job.set(status="running", started=now_utc())
        began = time.process_time()
        folder = Path(SETTINGS["work"]) / job.metadata.id
        folder.mkdir(parents=True, exist_ok=True)
        outcome = "finished"
        try:
            env = EvalEnv({
                "backend_implementation": self.implementation, "version": "1.2.0", "openeo_api_version": "1.2.0",
                "user": job.user, "pyramid_levels": "highest", "require_bounds": True, "node_caching": False,
                "job": job,
            })  # fmt: skip
            graph = copy.deepcopy(job.metadata.process["process_graph"])  # it is changed in place
            result = self.implementation.processing.evaluate(graph, env=env)
            written = to_save_result(result).write_assets(str(folder / "out"))
            job.assets = {name: {"output_dir": str(folder), **asset} for name, asset in written.items()}
        except Exception as error:  # noqa: BLE001 - whatever it is, the job ends with it
            job.logs.append({"id": "error", "level": "error", "message": str(error)})
            outcome = "error"
        with self.lock:
            outcome = "canceled" if job.cancelled.is_set() else outcome
            spent = timedelta(seconds=max(1, ceil(time.process_time() - began)))
            job.set(status=outcome, finished=now_utc(), cpu_time=spent, costs=1.5)

    def get_result_assets(self, job_id, user_id):
        job = self._job(job_id, user_id)
        if job.metadata.status != "finished":
            raise JobNotFinishedException()
        return job.assets

    def get_log_entries(self, job_id, *, user_id, offset=None, limit=None, level=None):
        logs = self._job(job_id, user_id).logs
        found = [one for one in logs if offset is None or one["id"] > offset]
        return found[: int(limit)] if limit else found

    def cancel_job(self, job_id, user_id):
        job = self._job(job_id, user_id)
        with self.lock:
            if job.metadata.status == "queued":
                job.set(status="created")
            elif job.metadata.status == "running":
                job.cancelled.set()
                job.set(status="canceled")

    def delete_job(self, job_id, user_id):
        job = self._job(job_id, user_id)
        job.cancelled.set()
        self.gone.append(job.metadata)
        del self.jobs[job_id]


class Stored(UserDefinedProcesses):
    def __init__(self):
        super().__init__()
        self.kept = {}

    def get(self, user_id, process_id):
        return self.kept.get((user_id, process_id))

    def get_for_user(self, user_id):
        return [udp for (owner, _), udp in self.kept.items() if owner == user_id]

    def list_for_user(self, user_id):
        return UserDefinedProcessesListing(udps=self.get_for_user(user_id))

    def save(self, user_id, process_id, spec):
        self.kept[user_id, process_id] = UserDefinedProcessMetadata.from_dict(spec)

    def delete(self, user_id, process_id):
        if self.kept.pop((user_id, process_id), None) is None:
            raise ProcessGraphNotFoundException(process_id)


class Implementation(OpenEoBackendImplementation):
    def __init__(self):
        super().__init__(
            catalog=Catalog(),
            batch_jobs=Jobs(self),
            user_defined_processes=Stored(),
            processing=ConcreteProcessing(),
            config=config,
        )
        self.user_files = Files()

    def load_disk_data(self, format, glob_pattern, options, load_params, env):
        """One raster of one band, of the workspace."""
        with rasterio.open(self.user_files.of(env["user"].user_id) / glob_pattern) as source:
            grid = {"crs": source.crs, "transform": source.transform, "width": source.width, "height": source.height}
            return Cube(CollectionMetadata({}), {"value": source.read(1).astype("float32")}, grid)

    def capabilities_billing(self):
        return {"currency": "credits"}


def main():
    logging.basicConfig(level=logging.WARNING)
    implementation = Implementation()
    openeo_driver.views.register_views_user_files = implementation.user_files.register
    app = build_app(implementation)

    @app.route("/starts/<job_id>")
    def starts(job_id):
        job = implementation.batch_jobs.jobs.get(job_id)
        return {"starts": job.starts if job else 0}

    seconds = collections.Counter()

    @app.before_request
    def count():
        if not request.path.startswith("/control"):
            seconds[int(time.time())] += 1

    @app.route("/control", methods=["GET", "POST"])
    def control():
        if request.method == "POST":
            OPENED.set()
        made = [*implementation.batch_jobs.gone, *(job.metadata for job in implementation.batch_jobs.jobs.values())]
        ends = {one.id: [when and when.timestamp() for when in (one.started, one.finished)] for one in made}
        return {"jobs": ends, "seconds": seconds}

    app.run(host="127.0.0.1", port=SETTINGS["port"], threaded=True)


if __name__ == "__main__":
    main()
