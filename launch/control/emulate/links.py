"""The program that carries packets between networks, and what can be said to it."""
import json
import subprocess

from ..failure import Failure


class Links:
    """Links between networks, all with the same rules at first. Ends with close(), or with this
    process: emulated_links ends with its standard input."""

    def __init__(self, program, networks, addresses, rtt="0", rate="none", jitter="0", loss="0"):
        """`networks` and `addresses` by name."""
        self.rate = rate  # of each port
        files = [network.file for network in networks.values()]
        ports = [f"--port={name},/proc/self/fd/{networks[name].file},{addresses[name]}"
                 for name in networks]
        try:
            self.process = subprocess.Popen(
                [program, *ports, f"--rtt={rtt}", f"--rate={rate}", f"--jitter={jitter}",
                 f"--loss={loss}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=files,
                start_new_session=True)
        except FileNotFoundError:
            raise Failure(f"{program} is not there: build it (cmake --build --preset release "
                          "--target emulated_links)") from None
        if self._answer() != "ready":
            raise Failure("the links could not be made: the line above says why")

    def _answer(self):
        return self.process.stdout.readline().rstrip("\n")

    def say(self, command):
        """One of the commands of emulated_links/commands.hpp; returns what stats answers."""
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except OSError:
            raise Failure("emulated_links has ended") from None
        answer = self._answer()
        if not answer or answer.startswith("error: "):
            raise Failure(f"emulated_links, asked to {command}: {answer or 'it has ended'}")
        return answer

    def stats(self):
        """Counts by (from, to)."""
        return {(pair["from"], pair["to"]): pair for pair in json.loads(self.say("stats"))}

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()
