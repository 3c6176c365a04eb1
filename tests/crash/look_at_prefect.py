"""Start the project's Prefect server, as `ssvh ui` does for whoever looks at it, and end it."""

from flows.running.environment import prepare_environment
from flows.servers.server import prefect_server

if __name__ == "__main__":
    prepare_environment()
    with prefect_server():
        pass
