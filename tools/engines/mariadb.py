"""MariaDB: no option file, no socket, TCP without passwords on loopback."""

import getpass

from . import process, tool
from .service import Node, Service, need_programs

DATABASE = "doorbuster"

# Run at every start, so that a first start that was interrupted is made good.
START_SQL = f"""\
CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS '{DATABASE}'@'127.0.0.1';
GRANT ALL PRIVILEGES ON *.* TO '{DATABASE}'@'127.0.0.1';
"""


class MariaDb(Service):
    name = "mariadb"
    node_names = ("mariadb",)
    program = "mariadbd"
    variable = "DOORBUSTER_TEST_MYSQL"
    taken_texts = ("Address already in use", "Can't start server: Bind on TCP/IP port")

    def check_installed(self) -> None:
        need_programs(self.name, "mariadbd", "mariadb", "mariadb-install-db")

    def initialise(self, node: Node) -> None:
        tool.run("mariadb-install-db", [
            "mariadb-install-db", "--no-defaults", f"--datadir={self.data_folder(node)}",
            f"--user={getpass.getuser()}", "--auth-root-authentication-method=normal",
            "--skip-name-resolve", "--skip-test-db"], self.log_file(node))

    def command(self, node: Node) -> list:
        data = self.data_folder(node)
        sql = self.folder / "start.sql"
        sql.write_text(START_SQL, encoding="utf-8")
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return [
            "mariadbd", "--no-defaults",
            f"--user={getpass.getuser()}",  # as root it starts only if told so
            f"--datadir={data}", f"--tmpdir={temporary}", f"--init-file={sql}",
            f"--pid-file={self.folder / 'mariadbd.pid'}",
            "--bind-address=127.0.0.1", f"--port={node.port}",
            "--socket=",  # none: its path has a limit of 107 bytes
            "--skip-name-resolve", "--max-connections=200",
            "--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",
            "--innodb-buffer-pool-size=128M",
            "--innodb-flush-log-at-trx-commit=1"]

    def node_is_ready(self, node: Node, running: process.Process) -> bool:
        # The folder tells it from another server on this port.
        answer = tool.ask(["mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", str(node.port),
                           "-u", "root", "-N", "-B", "--connect-timeout=5", "-e",
                           "select @@datadir", DATABASE])
        return answer is not None and answer.rstrip("/") == str(self.data_folder(node))

    def url(self) -> str:
        return f"mysql://root@{self.nodes[0].address}/{DATABASE}"
