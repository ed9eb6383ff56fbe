"""A Sinch that does not like some numbers."""

import json

from tests.wire import RawServer, respond

_REFUSAL = b'{"code": "syntax_invalid_parameter_format", "text": "to[3]: not a number"}'


class Picky:
    """A Sinch that refuses every batch with a number it does not like."""

    def __init__(self, *bad, status="400 Bad Request", body=_REFUSAL):
        self.bad, self.status, self.body = set(bad), status, body
        self.taken = []
        self.server = RawServer(self._answer)

    def _answer(self, connection):
        sent = json.loads(self.server.requests[-1].partition(b"\r\n\r\n")[2])
        if self.bad.intersection(sent["to"]):
            return respond(self.status, self.body)(connection)
        self.taken.append(sent)
        body = json.dumps({"id": f"01JX{len(self.taken):022}"}).encode()
        return respond("201 Created", body)(connection)

    @property
    def posts(self):
        return len(self.server.requests)

    def recipients(self):
        return [number for sent in self.taken for number in sent["to"]]
