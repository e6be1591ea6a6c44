"""Where the lab's services find their databases. Pure."""

from pathlib import Path
from urllib.parse import quote


def database_url(socket: Path, database: str) -> str:
    """SQLAlchemy's address of a database of the MariaDB that listens on this Unix socket."""
    quoted = quote(str(socket), safe="/")
    return f"mysql+pymysql://root@localhost/{database}?unix_socket={quoted}&charset=utf8"
