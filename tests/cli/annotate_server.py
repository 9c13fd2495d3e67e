#!/usr/bin/env python3
"""annotate_server.py LOG PORTFILE - a chat-completions server that misbehaves
on demand. A document's text says how: "do=WHAT:N" N times, then it answers
with the points of "points=P". Each request is a line of LOG: time, document,
attempt, requests under way, authorization, prompt language."""
import http.server
import json
import os
import re
import sys
import threading
import time

lock = threading.Lock()
seen, running = {}, 0
log = open(sys.argv[1], "w", buffering=1, encoding="utf-8")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def send(self, status, body, **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, text, finish="stop", **message):
        return {"choices": [{"message": {"role": "assistant", "content": text, **message},
                             "finish_reason": finish}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10}}

    def misbehave(self, what):
        if what == "429":
            self.send(429, {"error": "slow down"}, Retry_After="1")
        elif what.isdigit():
            self.send(int(what), {"error": what})
        elif what == "slow":
            time.sleep(1.5)
            self.send(200, self.answer("late\nScore: 1"))
        elif what == "malformed":
            self.send(200, b'{"choices": [{"message": {"content": "Sco')
        elif what == "nothing":
            self.send(200, {"choices": []})
        elif what == "truncated":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
        elif what == "closed":
            self.close_connection = True
        elif what == "refusal":
            self.send(200, self.answer("I'm sorry, but I can't help with that."))
        elif what == "refusal_field":
            self.send(200, self.answer(None, refusal="no"))
        elif what == "filter":
            self.send(200, self.answer("", finish="content_filter"))
        elif what == "noscore":
            self.send(200, self.answer("A fine text about plants."))
        elif what == "six":
            self.send(200, self.answer("Great.\nScore: 6"))
        elif what == "two":
            self.send(200, self.answer("Score: 2\nor rather\nScore: 3"))
        elif what == "cut":
            self.send(200, self.answer("Fine.\nScore: 4", finish="length"))
        elif what == "huge":
            self.send(200, b'{"x": "' + b"y" * (5 << 20) + b'"}')

    def do_POST(self):
        global running
        body = self.rfile.read(int(self.headers["Content-Length"]))
        ask = json.loads(body)
        prompt = ask["messages"][0]["content"]
        name = re.search(r"name=(\w+)", prompt).group(1)
        with lock:
            seen[name] = seen.get(name, 0) + 1
            attempt, running = seen[name], running + 1
            log.write(f"{time.monotonic():.3f} {name} {attempt} {running} "
                      f"{self.headers.get('Authorization', '-').replace(' ', '_')} "
                      f"{'ko' if '점수: N' in prompt else 'en'} {len(prompt)}\n")
        try:
            what = re.search(r"do=(\w+):(\d+)", prompt)
            if what and attempt <= int(what.group(2)):
                self.misbehave(what.group(1))
            else:
                time.sleep(0.01)
                points = re.search(r"points=(.*?);", prompt).group(1)
                self.send(200, self.answer("까닭: \"points\"\n\n" + points))
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with lock:
                running -= 1


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
with open(sys.argv[2] + ".new", "w", encoding="utf-8") as f:
    f.write(str(server.server_address[1]))
os.rename(sys.argv[2] + ".new", sys.argv[2])
server.serve_forever()
