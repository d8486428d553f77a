"""Starts and stops real servers with scratch data on free loopback ports: tools/services.

Standard library only. Names of the parts: a *service* is what a user names (redis-cluster), a
*node* is one server process of it. Everything of a service is in one folder:

    service.json     ports, who owns it; there from the first start until `stop` deletes the data
    NODE/            data of a node, and the working folder of its process
    NODE.process     process id and start time, written as soon as the process exists
    NODE.log         what the server printed; kept by `stop`, begun anew by the next first start
"""
