"""The lab's Nova, with what it needs: Keystone, Placement, Glance, RabbitMQ, libvirt and QEMU.

Everything is as operators run it, from the releases in the package index and Debian's packages;
only the sizes are small: one process for each service.

=====================  ================================================================
``catalogue``          the web services: names, ports, and where they listen
``configuration``      every configuration file, as texts
``databases``          the schemas, by the services' own migrations
``message_bus``        RabbitMQ, over which Nova's parts talk
``registration``       users, projects, services and endpoints in Keystone
``controller``         the processes on the controller
``hypervisor``         libvirt on a compute host, beside those of other hosts
``compute_host``       the processes on a compute host
``guest``              the image of a small virtual machine that asks for its metadata
``stock``              images and flavors that a cloud begins with
``bring_up``           the order in which it is started
``membership``         compute hosts that join and leave
=====================  ================================================================
"""
