"""What members read when they choose the picture of a video."""

QUESTION = "This message has several pictures. Which one should become a video?"
CHOOSE = "Choose a picture"
PROMPT_LABEL = "What should happen in the video?"
PROMPT_EXAMPLE = "Waves roll in, and the camera slowly moves closer"
RESOLUTION_LABEL = "Resolution"
RESOLUTION_DEFAULT = "As in /videos settings, else the best there is"
NO_PICTURE = (
    "I can't find a picture in this message: I look for attached pictures, previews of links and stickers. "
    "`/animate` takes a picture from your device, or a link to one on Discord."
)
VECTOR_STICKER = (
    "This sticker is a drawing that Discord's app animates itself, so there's no picture that I could use. "
    "Stickers that are pictures work."
)
START_AGAIN = (
    "I no longer know which picture that was for, so nothing was ordered and nothing is charged. Please start "
    "again from the message: right-click it (on a phone, press and hold), then *Apps*, then *Animate this image*."
)
NEITHER = "Which picture? Add one as `image`, or a link to one on Discord as `link`. Nothing was charged."
BOTH = "Please give me either `image` or `link`, not both. Nothing was charged."
NOT_A_LINK = (
    "I can only use links to pictures on Discord itself, such as `https://cdn.discordapp.com/attachments/…`. Open "
    "a picture in Discord and copy its link, or send the picture as `image`. Nothing was charged."
)


def form_title(name: str) -> str:
    """The title of the form for a picture."""
    return f"Animate {name}"


def unnamed(place: int) -> str:
    """What a picture without a name is called. place: counted from 0."""
    return f"Picture {place + 1}"
