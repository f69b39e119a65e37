"""Clients that meet failures, and what they may be answered."""

import threading
import time
import uuid

import requests


def is_clean_503(answer):
    """Refused for now: says so in words, and when to try again."""
    body = answer.json()
    return (answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
            and body["code"] == "UNAVAILABLE" and body["error"] == "Service unavailable")


def submit_until_accepted(farm, code, *, language="dash", session=None, seconds=60, refusals=None, **how):
    """POST /execute/async with one Idempotency-Key until the answer is 200: the job's id."""
    name = {"Idempotency-Key": uuid.uuid4().hex}
    deadline = time.monotonic() + seconds
    while True:
        answer = farm.post("/execute/async", {"language": language, "code": code},
                           headers=name, session=session, **how)
        if answer.status_code == 200:
            return answer.json()["job_id"]
        assert is_clean_503(answer), (answer.status_code, answer.text)
        assert time.monotonic() < deadline, answer.text
        if refusals is not None:
            refusals.append(answer)
        time.sleep(0.1)


class Crowd:
    """Threads that call until they are told to stop; the first failure of one is raised."""

    def __init__(self):
        self.stop = threading.Event()
        self.threads = []
        self.failure = None

    def add(self, work, *args):
        def run():
            with requests.Session() as session:
                try:
                    while not self.stop.is_set():
                        work(session, *args)
                except Exception as e:  # of any kind: it fails the test
                    self.failure = self.failure or e

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        if self.failure:
            raise self.failure

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join()
