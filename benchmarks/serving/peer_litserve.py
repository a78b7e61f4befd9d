"""LitServe with our sampler. Run by ``__main__.py``: ``python -m benchmarks.serving.peer_litserve PORT WORKERS``.

Settings are those that its documentation recommends for throughput, or the faster where it leaves a choice.
"""

from __future__ import annotations

import os
import sys

import litserve as ls  # type: ignore[import-not-found, unused-ignore]
from fastapi import Response

from benchmarks.serving.faces import Faces
from model import FaceRequest

# Its default of 0 makes each worker ask its queue without a pause and burn a core that other work needs. A lone request
# waits up to this long for company; too short, and batches are not full. So __main__ tries several and takes the best.
BATCH_TIMEOUT = float(os.environ["SERVING_BATCH_TIMEOUT"])


class FaceAPI(ls.LitAPI):  # type: ignore[misc, unused-ignore]
    """One batch of faces after the other."""

    def setup(self, device: str) -> None:
        self.faces = Faces(device)

    # These two have no types, for it would read from them what kind of body to expect; without, it is JSON.
    def decode_request(self, request):
        return self.faces.asked(request["emotion"], request["seed"])

    def predict(self, requests: list[FaceRequest]) -> list[bytes]:
        return self.faces.draw(requests)

    def encode_response(self, output):
        return Response(output, media_type="image/png")


def main() -> None:
    port, workers = int(sys.argv[1]), int(sys.argv[2])
    device = os.environ.get("SERVING_DEVICE", "cpu")
    kind = device.partition(":")[0]
    server = ls.LitServer(
        FaceAPI(max_batch_size=int(os.environ["SERVING_BATCH"]), batch_timeout=BATCH_TIMEOUT, api_path="/generate"),
        accelerator=kind,
        devices=1,
        # "For CPU, set to the number of cores": that is tried, with one torch thread each, and one worker with all.
        workers_per_device=workers,
        timeout=60,
        # "Use when serving hundreds of requests per second."
        fast_queue=True,
        track_requests=False,
    )
    # As many HTTP processes as workers, its default and recommendation; "warning (good for production)".
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
