"""Role: what is random is each job's own, also where all jobs are forked from one template.
Callers: meson test, once a mode of starting the service.
Law: each draw has at least 40 random bits, so that two jobs that agree are a fault and not chance.
"""
import concurrent.futures
import json

from contract import ServiceTest, main
from service import RUNNER, eventually

JOBS = 16

# Name of the source, and the expression that draws from it.
SOURCES = [
    ("os.urandom", "os.urandom(8).hex()"),
    ("os.getrandom", "os.getrandom(8).hex()"),
    ("/dev/urandom", "open('/dev/urandom', 'rb').read(8).hex()"),
    ("random", "random.random()"),
    ("random, its state", "hash(random.getstate())"),
    ("random.Random", "random.Random().random()"),
    ("random.SystemRandom", "random.SystemRandom().random()"),
    ("random.shuffle", "random.sample(range(100), 20)"),
    ("secrets", "secrets.token_hex(8)"),
    ("uuid4", "str(uuid.uuid4())"),
    ("uuid1", "str(uuid.uuid1())"),
    ("tempfile.mktemp", "os.path.basename(tempfile.mktemp())"),
    ("tempfile.mkdtemp", "os.path.basename(tempfile.mkdtemp())"),
    ("ssl", "ssl.RAND_bytes(8).hex()"),
    ("multiprocessing's key", "bytes(multiprocessing.current_process().authkey).hex()"),
    ("sqlite", "sqlite3.connect(':memory:').execute('select hex(randomblob(8))').fetchone()[0]"),
    ("a salted password", "hashlib.scrypt(b'', salt=os.urandom(8), n=2, r=1, p=1).hex()"),
    ("numpy.random", "float(numpy.random.rand())"),
    ("numpy.random, its state", "numpy.random.get_state()[1][:4].tolist()"),
    ("numpy.random.RandomState", "float(numpy.random.RandomState().rand())"),
    ("numpy.random.default_rng", "float(numpy.random.default_rng().random())"),
    ("numpy.random.SeedSequence", "hex(numpy.random.SeedSequence().entropy)"),
    ("numpy's bit generators",
     "[int(kind().random_raw()) for kind in (numpy.random.PCG64, numpy.random.MT19937, numpy.random.Philox)]"),
    ("pandas", "pandas.Series(range(1000)).sample(20).tolist()"),
]
DRAW = """
    import hashlib, json, multiprocessing, os, random, secrets, sqlite3, ssl, tempfile, uuid
    import numpy, pandas
    print(json.dumps({name: str(eval(draw)) for name, draw in %r}))
    """
HASH = "print(hash('a'), hash(b'a'), hash('something longer'))"


class Randomness(ServiceTest):
    """One worker, so one template of each kind; two jobs at a time, so that one has waited while the other ran."""

    workers = 1

    def draw(self, text, jobs, **fields):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda _: self.output_of(text, **fields), range(jobs)))

    def test_no_two_jobs_draw_the_same(self):
        drawn = list(map(json.loads, self.draw(DRAW % (SOURCES,), JOBS if RUNNER == "warm" else 4)))
        for name, _ in SOURCES:
            with self.subTest(name):
                values = [job[name] for job in drawn]
                self.assertEqual(len(set(values)), len(drawn), values)

    def test_a_seed_of_the_script_s_own_gives_the_same_in_each(self):
        text = """
            import random, numpy
            random.seed(1); numpy.random.seed(1)
            print(random.random(), numpy.random.rand(), numpy.random.default_rng(1).random())
            """
        self.assertEqual(len(set(self.draw(text, 3))), 1)

    def test_a_job_that_asks_for_it_has_a_hash_seed_of_its_own(self):
        self.assertEqual(len(set(self.draw(HASH, 6, env={"PYTHONHASHSEED": "random"}))), 6)

    def test_fresh_runners_share_no_hash_seed(self):
        # Runners of one template share it, as forked processes do: the README says so, and this shows it. Which of the
        # worker's two templates serves is up to the imports, of the last job too.
        self.draw(HASH, 2)
        self.assertEqual(len(set(self.draw(HASH, 4))), 4 if RUNNER == "fresh" else 1)


class HashSeeds(ServiceTest):
    """Two workers: what their templates share."""

    def test_templates_have_seeds_of_their_own(self):
        seen = set()

        def two_seeds():
            with concurrent.futures.ThreadPoolExecutor(2) as pool:  # of two that overlap, each worker gets one
                seen.update(pool.map(lambda _: self.output_of("import time; time.sleep(0.2); " + HASH), range(2)))
            return len(seen) > 1
        eventually(two_seeds, "another seed", 60)


if __name__ == "__main__":
    main()
