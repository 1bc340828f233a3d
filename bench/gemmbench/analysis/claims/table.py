"""The one table of claims. The figures are the article's."""

from gemmbench.analysis.claims import arithmetic, collectives, compiler, datasheet, rivals, runs
from gemmbench.analysis.claims.claim import Claim, Decided
from gemmbench.analysis.claims.evidence import Known

CLAIMS = (
    Claim(
        id="ops-1024",
        says="a 1024×1024 matrix product takes 10⁹ multiply-adds",
        how="arithmetic",
        decide=arithmetic.ops_1024,
    ),
    Claim(
        id="naive-1024",
        says="CUDA cores: 1024³ in about 0.5 ms",
        how="a run",
        decide=runs.naive_1024,
    ),
    Claim(
        id="tensor-1024",
        says="Tensor Cores: 1024³ in about 0.01 ms",
        how="a run",
        decide=runs.tensor_1024,
    ),
    Claim(
        id="speedup-50",
        says="that is 50 times faster",
        how="a run",
        decide=runs.speedup_50,
    ),
    Claim(
        id="tile-4x4",
        says="a Tensor Core multiplies a 4×4 block (or 8×8) in a clock",
        how="datasheets and the compiler",
        decide=compiler.tile_4x4,
    ),
    Claim(
        id="h100-3958",
        says="H100: 3958 TFLOPS in FP8",
        how="the datasheet",
        decide=datasheet.h100_3958,
    ),
    Claim(
        id="mi300x-5300",
        says="MI300X: 5300 TFLOPS",
        how="the datasheet",
        decide=datasheet.mi300x_5300,
    ),
    Claim(
        id="mi300x-60-70",
        says="in practice MI300X reaches 60–70% of H100",
        how="a run on each, or published measurements",
        decide=rivals.mi300x_60_70,
    ),
    Claim(
        id="mha-2ms",
        says=(
            "one nn.MultiheadAttention(4096, 32) forward on (32, 1024, 4096) under autocast takes "
            "about 2 ms on H100"
        ),
        how="a bound",
        decide=datasheet.mha_2ms,
    ),
    Claim(
        id="mha-5ms",
        says="the same takes about 5 ms on MI300X, 2.5 times slower",
        how="a bound",
        decide=datasheet.mha_5ms,
    ),
    Claim(
        id="mi300x-fp8-autocast",
        says="autocast has no fp8 mode on MI300X",
        how="torch and the compiler",
        decide=compiler.mi300x_fp8_autocast,
    ),
    Claim(
        id="rccl-30",
        says="RCCL is 30% slower than NCCL over 8 GPUs",
        how="a run of a collective on each",
        decide=collectives.rccl_30,
    ),
    Claim(
        id="60-percent",
        says="a chip with 60% of the leader's performance satisfies most users",
        how="a run on each of two chips",
        decide=rivals.sixty_percent,
    ),
    Claim(
        id="power-700",
        says="H100 draws 700 W",
        how="a run",
        decide=runs.power_700,
    ),
    Claim(
        id="rent-2.5",
        says="10,000 H100 × 2400 h × $2.5/h = $60 million for GPT-4",
        how="arithmetic",
        decide=arithmetic.rent,
    ),
    Claim(
        id="energy-100d",
        says="10,000 H100 × 700 W × 2400 h = 16.8 GWh, at $0.07/kWh $1.176 million",
        how="arithmetic",
        decide=arithmetic.energy,
    ),
    Claim(
        id="oci-margin",
        says="at $2.5/h and $2.15/h of cost, a margin of 14%",
        how="arithmetic",
        decide=arithmetic.margin,
    ),
)


def decided(known: Known) -> tuple[Decided, ...]:
    """Every claim, decided by what is known."""
    return tuple(
        Decided(id=claim.id, says=claim.says, how=claim.how, decision=claim.decide(known))
        for claim in CLAIMS
    )
