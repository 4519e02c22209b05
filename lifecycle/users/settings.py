"""What `tandem train users` can be told."""

from pydantic import BaseModel, ConfigDict, Field

from ranker.recommendation import Limits


class UserTraining(BaseModel):
    """Knobs of learning from behaviour. Days are of the events' own time, which ends with the last event."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    half_life_days: float = Field(default=7, gt=0, description="Days after which a purchase counts half in popularity.")
    history_days: float = Field(default=7, gt=0, description="Days after which a product of a history counts half.")
    pair_days: float = Field(default=30, gt=0, description="Days after which a basket counts half in bought together.")
    window_days: float = Field(
        default=30, gt=0, description="Days within which a later basket counts as following an earlier one."
    )
    basket_hours: float = Field(default=6, ge=0, description="Hours without an event that end a user's basket.")
    most_history: int = Field(default=50, ge=1, le=1000, description="Latest products of a history that are read.")
    neighbours: int = Field(default=60, ge=1, le=1000, description="Products kept as bought with each.")
    least_users: int = Field(
        default=1, ge=1, description="Users who have to have bought two products for them to count as bought together."
    )
    popular: int = Field(default=500, ge=12, le=10_000, description="Products kept of each list of popular ones.")
    least_events: int = Field(
        default=500, ge=1, description="Events that a segment or channel needs for a list of its own."
    )
    held_out_days: float = Field(
        default=1, gt=0, description="Latest days of the file whose purchases measure what was learned before them."
    )
    label_days: float = Field(
        default=1, gt=0, description="Days before those whose purchases the order of candidates is learned from."
    )
    examples: int = Field(default=20_000, ge=10, description="Users to learn the order from, at most.")
    limits: Limits = Field(default=Limits(), description="Candidates of each source, at most.")
    tower: bool = Field(default=True, description="Whether to train a user tower.")
    tower_history: int = Field(default=20, ge=1, le=1000, description="Latest products that the user tower reads.")
    layers: int = Field(default=2, ge=1, le=12, description="Layers of the user tower.")
    width: int = Field(default=64, ge=8, le=2048, description="Width of the user tower's layers.")
    heads: int = Field(default=4, ge=1, le=32, description="Heads of attention.")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="Dropout while the user tower is trained.")
    epochs: int = Field(default=4, ge=1, description="Passes of the user tower over its examples, at most.")
    steps: int = Field(default=4_000, ge=1, description="Steps of the user tower, at most.")
    batch_size: int = Field(default=256, ge=2, description="Histories of a step.")
    negatives: int = Field(default=1_024, ge=1, description="Products drawn by popularity to tell bought ones from.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Highest learning rate of the user tower.")
    leaves: int = Field(default=7, ge=2, le=255, description="Leaves of a tree.")
    least: int = Field(default=200, ge=1, description="Candidates in a leaf, at least.")
    rounds: int = Field(default=400, ge=1, description="Trees, at most.")
    boosting_rate: float = Field(default=0.03, gt=0, le=1, description="Learning rate of boosting.")
    threads: int = Field(default=1, ge=0, description="Threads; 0: one for each core, which wait for each other.")
    seed: int = Field(default=0, description="Seed of all random choices.")
