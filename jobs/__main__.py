"""`python -m jobs VERB ...` is `dailies VERB ...`, for machines where only the source tree travels."""

import sys

from jobs.cli import main

sys.exit(main())
