from core.progress import Silent


def test_silent_steps_take_reports_and_let_errors_through() -> None:
    with Silent().step("any") as report:
        report(1, None)
        report(1, 2)
    try:
        with Silent().step("any"):
            raise KeyError("inside")
    except KeyError as error:
        assert error.args == ("inside",)
    else:
        raise AssertionError("the error was swallowed")
