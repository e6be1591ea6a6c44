from tests.kernel.test_felix_agent import *
from tests.kernel.conftest import *
from tests.support.felix import *
def test_dbg(host, etcd):
    put_group(etcd, "web", [allow("ICMP", group="web"), allow("TCP", 80)])
    host.start()
    one, two = host.plug(1), host.plug(2)
    put_endpoint(etcd, 1, "web")
    put_endpoint(etcd, 2, "web")
    wait_status(etcd, 2, "up")
    p = host.namespace.popen("tcpdump","-nni","any","-l",stdout=open("/tmp/e/td","w"))
    import time; time.sleep(1)
    print(one.run("ping","-c3","-W1","10.65.0.2",check=False).stdout)
    pass
    print(host.routes()); print(one.ip("neigh")); print(one.ip("addr")); print(host.namespace.run("sysctl","-a").stdout[:0])
    for k in ("proxy_arp","rp_filter","forwarding","arp_ignore"): print(k, host.namespace.read_sysctl(f"net/ipv4/conf/tap1/{k}"))
    print(host.namespace.read_sysctl("net/ipv4/neigh/tap1/proxy_delay"))
    print(host.process.output())
    p.kill()
    print(open("/tmp/e/td").read())
    assert 0
