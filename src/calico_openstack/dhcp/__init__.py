"""The DHCP agent: dnsmasq's configuration from etcd."""
