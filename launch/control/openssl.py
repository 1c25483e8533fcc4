"""The openssl program, as trainctl certs calls it."""
import datetime
import subprocess

from .failure import Failure


def run(*words, **options):
    try:
        return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout
    except FileNotFoundError:
        raise Failure(f"{words[0]} is not installed (Debian package {words[0]})") from None
    except subprocess.CalledProcessError as error:
        raise Failure(f"{' '.join(map(str, words[:2]))} failed: {error.stderr.strip()}") from None


def date_in(seconds):
    """So far from now, as openssl reads it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now + datetime.timedelta(seconds=seconds)).strftime("%Y%m%d%H%M%SZ")


# The clocks of clusters differ: what is made now is valid since an hour ago.
def date_of_begin():
    return date_in(-3600)


def seconds_left(certificate):
    date = run("openssl", "x509", "-in", certificate, "-noout", "-enddate").strip().split("=")[1]
    end = datetime.datetime.strptime(date, "%b %d %H:%M:%S %Y %Z")
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return (end - now).total_seconds()


def serial_of(certificate):
    return run("openssl", "x509", "-in", certificate, "-noout", "-serial").strip().split("=")[1]
