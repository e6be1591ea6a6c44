"""RabbitMQ on the controller, over which Nova's parts talk to each other."""

from calico_openstack.lab.commands import CommandError, run
from calico_openstack.lab.keystone_access import PASSWORD
from calico_openstack.lab.namespaces import inside, inside_host
from calico_openstack.lab.processes import ProcessSpec
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology

PROCESS = "rabbitmq"
PORT = 5672
DISTRIBUTION_PORT = 25672
USER = "nova"
# Debian's own script does without root and the user `rabbitmq`, which this one does not need.
PROGRAMS = "/usr/lib/rabbitmq/bin"
STOP_TIMEOUT = 20.0


def url(topology: Topology) -> str:
    """The address for oslo.messaging."""
    return f"rabbit://{USER}:{PASSWORD}@{topology.controller.ipv4}:{PORT}/"


def configuration(topology: Topology) -> str:
    """The text of `rabbitmq.conf` (rabbitmq.com/docs/configure)."""
    options = {
        "listeners.tcp.1": f"{topology.controller.ipv4}:{PORT}",
        "default_user": USER,
        "default_pass": PASSWORD,
        "loopback_users": "none",
        "log.console": "true",
        "log.console.level": "warning",
        "log.file": "false",
        # Half of a machine's memory is no limit that this server comes near to.
        "disk_free_limit.absolute": "50MB",
    }
    return "".join(f"{name} = {value}\n" for name, value in options.items())


def process(lab: Lab, topology: Topology) -> ProcessSpec:
    """The server. Everything that it writes is in a folder of the lab."""
    folder = lab.host_folder("controller") / "rabbitmq"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rabbitmq.conf").write_text(configuration(topology))
    (folder / "enabled_plugins").write_text("[].\n")
    return ProcessSpec(
        name=PROCESS,
        host="controller",
        argv=tuple(
            inside_host(lab.namespace("controller"), "controller", [f"{PROGRAMS}/rabbitmq-server"])
        ),
        env=_environment(lab),
        log=str(lab.log_file(PROCESS)),
        stop_timeout=STOP_TIMEOUT,
    )


def is_ready(lab: Lab) -> bool:
    """Whether the server takes connections."""
    command = [f"{PROGRAMS}/rabbitmqctl", "--quiet", "await_startup", "--timeout", "5"]
    variables = [f"{name}={value}" for name, value in _environment(lab).items()]
    try:
        run(inside(lab.namespace("controller"), ["env", *variables, *command]), timeout=30.0)
    except CommandError:
        return False
    return True


def _environment(lab: Lab) -> dict[str, str]:
    folder = lab.host_folder("controller") / "rabbitmq"
    # Erlang's own ports are for this host only; its schedulers do not spin while they wait.
    return {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_DIST_PORT": str(DISTRIBUTION_PORT),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +S 1:1"
        ),
    }
