"""The 20 prompts of the SmolLM2 goldens: raw continuations and chat turns."""


def chat(*turns, system="You are a helpful AI assistant named SmolLM, trained by Hugging Face"):
    """What SmolLM2's template renders for these turns and an answer to come."""
    text = f"<|im_start|>system\n{system}<|im_end|>\n"
    for i, turn in enumerate(turns):
        role = "assistant" if i % 2 else "user"
        text += f"<|im_start|>{role}\n{turn}<|im_end|>\n"
    return text + "<|im_start|>assistant\n"


REPORT = (
    "The committee met on Tuesday to review the state of the northern canal. "
    "Mr. Hale reported that the upper lock had been closed for 11 days in May "
    "because of ice damage to both gates. The cost of repair was estimated at "
    "4,200 pounds, of which 1,500 had been paid in advance. Mrs. Ortega asked "
    "whether the lower lock could take the traffic in the meantime; the engineer "
    "answered that it could take no more than thirty boats a day. It was agreed "
    "that farmers should have the first claim, then the mill, then private "
    "boats. ")

PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea, there lived",
    "1, 1, 2, 3, 5, 8, 13, 21,",
    chat("What is the capital of France?"),
    chat("Write a haiku about granite."),
    chat("Hi!", "Hello! How can I help you today?", "Tell me a joke about stones."),
    chat("List three prime numbers greater than 100.", system="Answer in one line."),
    "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
    "#include <stdio.h>\n\nint main(void) {\n\tfor (int i = 0; i < 10; ++i) {\n",
    "SELECT name, COUNT(*) AS n\nFROM visitors\nWHERE year >= 1999\nGROUP BY",
    "{\"name\": \"Ada\", \"languages\": [\"en\", \"fr\"], \"address\": {\"city\":",
    "La tour Eiffel se trouve à Paris, et la Bastille",
    "Die Geschichte des Steins beginnt im Jahre 1847, als",
    "El río que pasa por la ciudad se llama",
    "В начале было слово, и слово было",
    "東京は日本の首都であり、",
    "النص الطويل محفور على الحجر",
    "I love hiking 🥾⛰️ and coffee ☕️! My favourite emojis are 👩‍🔬🏳️‍🌈",
    chat("Summarise this report in one sentence:\n\n" + REPORT * 3),
    "   Odd   spacing\t\tand\n\n\n  newlines \u00a0 and zero\u200bwidth, ½ x² ≠ ∞ —",
]
assert len(PROMPTS) == 20
