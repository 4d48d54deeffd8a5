"""An S3 server for tests that take it away."""

from __future__ import annotations


class Store:
    """moto's server, which can go away and come back with what it held. Keys: any."""

    def __init__(self) -> None:
        self.port = 0
        self.start()
        from pyarrow import fs

        system, _ = fs.FileSystem.from_uri(self.address("bucket", "someone:secret@") + "&allow_bucket_creation=true")
        system.create_dir("bucket")

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()
        _, self.port = self.server.get_host_and_port()

    def stop(self) -> None:
        self.server.stop()

    def address(self, bucket: str, who: str = "") -> str:
        return f"s3://{who}{bucket}/run?endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"
