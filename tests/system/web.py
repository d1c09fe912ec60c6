"""Clusters whose nodes serve HTTP, and how to ask them."""

import http.client
import json
import socket
import urllib.parse

import cluster as clusters

JSON = {"Content-Type": "application/json"}
CHANGES = {"X-SurfFS-Request": "1"}


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        assert self.headers["Content-Type"] == "application/json", (self.status, self.text)
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:200]!r}"


class Web:
    """Over a cluster (not started yet)."""

    def __init__(self, cluster, *options):
        self.cluster = cluster
        self.ports = dict(zip(cluster.nodes, clusters.free_ports(len(cluster.nodes))))
        for number, node in cluster.nodes.items():
            node.extra += ["--http-port", self.ports[number], *options]

    def start(self, *numbers):
        """These nodes (all of them), until they speak HTTP; that begins a little after the rest."""
        for number in numbers or self.cluster.nodes:
            self.cluster.nodes[number].start()
        for number in numbers or self.cluster.nodes:
            clusters.wait_until("HTTP", lambda: clusters.is_listening(self.ports[number]))

    def connect(self, number):
        return socket.create_connection(("127.0.0.1", self.ports[number]), timeout=60 * clusters.PATIENCE)

    def ask(self, number, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[number], timeout=60 * clusters.PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, number, path, **headers):
        return self.ask(number, "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def say(self, number, raw):
        """Raw bytes there, and the head of an answer, or what there is when the connection is closed."""
        with self.connect(number) as s:
            got = b""
            s.sendall(raw)
            while b"\r\n\r\n" not in got and (part := s.recv(65536)):
                got += part
            return got

    def post(self, number, key, type, value, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(number, "POST", "/keys/" + urllib.parse.quote(key, safe=""), json.dumps({"type": type, "value": value}), {**JSON, **headers})

    def value(self, number, key):
        answer = self.get(number, "/keys/" + urllib.parse.quote(key, safe=""))
        return answer.json() if answer.status == 200 else answer.status

    def change(self, number, path, body=None):
        return self.ask(number, "POST", path, body, CHANGES)

    def status(self, number):
        answer = self.get(number, "/admin/status")
        assert answer.status == 200, answer
        return dict(line.split(": ", 1) for line in answer.text.splitlines())

    def statuses(self):
        return {number: self.status(number) for number, node in self.cluster.nodes.items() if node.running()}

    def metrics(self, number):
        found = {}
        for line in self.get(number, "/metrics").text.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found
