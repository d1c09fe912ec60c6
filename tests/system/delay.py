"""A relay in front of each node that holds what passes for a while, in order: a round trip between any two programs then
takes as long as was asked for. It needs nothing of the kernel, unlike tc's netem, which not every machine has."""

import asyncio
import threading


class Relays:
    def __init__(self, one_way_s):
        self.one_way_s = one_way_s
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def add(self, host, port):
        """Who connects to this address speaks with 127.0.0.1 at the same port."""
        async def serve():
            await asyncio.start_server(lambda r, w: self.connected(r, w, port), host, port)

        asyncio.run_coroutine_threadsafe(serve(), self.loop).result(10)

    async def connected(self, reader, writer, to_port):
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", to_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pass_on(reader, other_writer), self.pass_on(other_reader, writer))

    async def pass_on(self, reader, writer):
        pieces = asyncio.Queue()
        sender = asyncio.create_task(self.send(pieces, writer))
        try:
            while data := await reader.read(65536):
                pieces.put_nowait((self.loop.time() + self.one_way_s, data))
        except OSError:
            pass
        pieces.put_nowait((self.loop.time() + self.one_way_s, b""))
        await sender

    async def send(self, pieces, writer):
        try:
            while True:
                at, data = await pieces.get()
                await asyncio.sleep(max(0, at - self.loop.time()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def close(self):
        async def end():
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
